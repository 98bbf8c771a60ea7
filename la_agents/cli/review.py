"""`la-agents prefs pending`, `approve` and `reject`: what was proposed about a user and waits for their word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from la_agents.cli.options import JsonOption, StoreOption, UserOption, settings_of
from la_agents.cli.tables import print_table
from la_agents.cli.terminal import note, print_json

if TYPE_CHECKING:
    from la_agents.preferences.proposals import Proposals

__all__ = ["approve", "pending", "reject"]

ProposalArgument = Annotated[str, typer.Argument(metavar="ID", help="As `prefs pending` shows it.")]


def pending(ctx: typer.Context, user: UserOption, as_json: JsonOption = False, store: StoreOption = None) -> None:
    """Show what was learned about a user and waits for approval, with the words it comes from."""
    waiting = _proposals(ctx, store).list(user)
    if as_json:
        print_json([preference.model_dump(mode="json") for preference in waiting])
    elif waiting:
        rows = [(p.id, p.scope, f"{p.confidence:.2f}", p.text, str(p.metadata.get("evidence", ""))) for p in waiting]
        print_table(("id", "scope", "confidence", "preference", "said"), rows)
    else:
        note("Nothing waits for approval.")


def approve(ctx: typer.Context, id: ProposalArgument, user: UserOption, store: StoreOption = None) -> None:
    """Let a proposal apply from now on."""
    known = _proposals(ctx, store).approve(user, id)
    note(f"Approved {id}." if known.id == id else f"Approved {id}; it says what {known.id} says.")


def reject(ctx: typer.Context, id: ProposalArgument, user: UserOption, store: StoreOption = None) -> None:
    """Turn a proposal down; the same words are not proposed again."""
    _proposals(ctx, store).reject(user, id)
    note(f"Rejected {id}.")


def _proposals(ctx: typer.Context, store: str | None) -> Proposals:
    return ctx.with_resource(settings_of(ctx, store).open_store()).proposals
