"""`pending`, `approve`, `reject`, `conflicts` and `decide`: what waits for a person's decision."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer

from la_agents.cli.options import JsonOption
from la_agents.cli.terminal import note, print_json, print_table

__all__ = ["approve", "conflicts", "decide", "pending", "reject"]

ProposalArgument = Annotated[str, typer.Argument(metavar="ID", help="The id that `prefs pending` shows.")]


def pending(memory: Any, as_json: JsonOption = False) -> None:
    """Show what was learned and waits for approval. With the words it comes from."""
    waiting = memory.store.proposals.list(memory.name)
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


def approve(memory: Any, id: ProposalArgument) -> None:
    """Let a proposal apply from now on."""
    known = memory.store.proposals.approve(memory.name, id)
    note(f"Approved {id}." if known.id == id else f"Approved {id}; it says what {known.id} says.")


def reject(memory: Any, id: ProposalArgument) -> None:
    """Reject a proposal. The same words are not proposed again."""
    memory.store.proposals.reject(memory.name, id)
    note(f"Rejected {id}.")


class Keep(str, Enum):
    """Which of two stays."""

    both = "both"
    newer = "newer"
    older = "older"


def conflicts(memory: Any, as_json: JsonOption = False) -> None:
    """Show pairs that may contradict or repeat each other."""
    found = memory.conflicts()
    if as_json:
        pairs = [{"older": pair.older, "newer": pair.newer} for pair in found]
        left_out = {"user_id"} if memory.is_layer else None
        dumped = [{name: one.model_dump(mode="json", exclude=left_out) for name, one in p.items()} for p in pairs]
        print_json([{**each, "similarity": pair.similarity} for each, pair in zip(dumped, found, strict=True)])
    elif found:
        rows = []
        for pair in found:
            rows.append((f"{pair.similarity:.2f}", pair.older.id, pair.older.text))
            rows.append(("", pair.newer.id, pair.newer.text))
        print_table(("similarity", "older, newer", "preference"), rows)
    else:
        note("Nothing may conflict.")


def decide(
    memory: Any,
    older: Annotated[str, typer.Argument(metavar="OLDER", help="The id that `conflicts` shows.")],
    newer: Annotated[str, typer.Argument(metavar="NEWER", help="The id that `conflicts` shows.")],
    keep: Annotated[Keep, typer.Option("--keep", help="Which of the two to keep.")],
) -> None:
    """Settle a possible conflict; it is not shown again."""
    memory.decide(older, newer, keep=keep.value)
    note(f"Kept {keep.value}.")
