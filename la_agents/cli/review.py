"""`la-agents prefs pending`, `approve`, `reject`, `conflicts` and `decide`: what waits for its user's word."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from la_agents.cli.options import JsonOption, StoreOption, UserOption, settings_of
from la_agents.cli.tables import print_table
from la_agents.cli.terminal import note, print_json

if TYPE_CHECKING:
    from la_agents.preferences.proposals import Proposals
    from la_agents.preferences.store import PreferenceStore

__all__ = ["approve", "conflicts", "decide", "pending", "reject"]

ProposalArgument = Annotated[str, typer.Argument(metavar="ID", help="As `prefs pending` shows it.")]


def pending(ctx: typer.Context, user: UserOption, as_json: JsonOption = False, store: StoreOption = None) -> None:
    """Show what was learned about a user and waits for approval, with the words it comes from."""
    waiting = _proposals(ctx, store).list(user)
    if as_json:
        print_json([preference.model_dump(mode="json") for preference in waiting])
    elif waiting:
        rows = [
            (p.id, p.scope, f"{p.confidence:.2f}", p.text, str(p.metadata.get("evidence", "")), " ".join(p.supersedes))
            for p in waiting
        ]
        print_table(("id", "scope", "confidence", "preference", "said", "would replace"), rows)
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


class Keep(str, Enum):
    """Which of two stays."""

    both = "both"
    newer = "newer"
    older = "older"


def conflicts(ctx: typer.Context, user: UserOption, as_json: JsonOption = False, store: StoreOption = None) -> None:
    """Show pairs of preferences that may contradict or repeat each other, the most similar first."""
    found = _open(ctx, store).conflicts(user)
    if as_json:
        print_json(
            [
                {
                    "older": conflict.older.model_dump(mode="json"),
                    "newer": conflict.newer.model_dump(mode="json"),
                    "similarity": conflict.similarity,
                }
                for conflict in found
            ]
        )
    elif found:
        rows = [
            row
            for each in found
            for row in (
                (f"{each.similarity:.2f}", each.older.id, each.older.text),
                ("", each.newer.id, each.newer.text),
            )
        ]
        print_table(("similarity", "older, newer", "preference"), rows)
    else:
        note("Nothing may conflict.")


def decide(
    ctx: typer.Context,
    older: Annotated[str, typer.Argument(metavar="OLDER", help="As `prefs conflicts` shows it.")],
    newer: Annotated[str, typer.Argument(metavar="NEWER", help="As `prefs conflicts` shows it.")],
    user: UserOption,
    keep: Annotated[Keep, typer.Option("--keep", help="Which of the two stays.")],
    store: StoreOption = None,
) -> None:
    """Settle a possible conflict; it is not shown again."""
    _open(ctx, store).decide(user, older, newer, keep=keep.value)
    note(f"Kept {keep.value}.")


def _proposals(ctx: typer.Context, store: str | None) -> Proposals:
    return _open(ctx, store).proposals


def _open(ctx: typer.Context, store: str | None) -> PreferenceStore:
    return ctx.with_resource(settings_of(ctx, store).open_store())
