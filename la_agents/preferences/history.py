"""The history of a preference: its changes, each with the values that it replaced, for `undo` and `as_of`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

__all__ = ["Change", "ChangeKind", "Operation"]

ChangeKind = Literal[
    "added",
    "refreshed",
    "merged",
    "superseded",
    "updated",
    "rated",
    "approved",
    "rejected",
    "decided",
    "forgotten",
    "imported",
    "undone",
]


@dataclass(frozen=True, slots=True)
class Operation:
    """One call that changed preferences; all changes that it made carry its id and are undone together."""

    at: datetime
    id: str = field(default_factory=lambda: secrets.token_hex(6))


class Change(BaseModel):
    """One entry of `history(user, id)`.

    Attributes:
        at: When.
        kind: `refreshed`: said again. `merged`: restated. `rated`: an answer that used it was rated. `imported`: a file
            had it otherwise. `decided`: its user keeps it beside another. `undone`: the change before it was taken
            back. Newer releases may have more kinds.
        why: In words.
        by: The id of the preference that took its place.
        said: The words that were said again or restated.
        before: The values that this change replaced, by field.
        undone: Whether it was taken back later.
        operation: What the changes that were made together have in common; None in records of older releases.
    """

    model_config = ConfigDict(frozen=True, extra="allow")  # fields of newer releases are kept

    at: AwareDatetime
    kind: ChangeKind | str
    why: str = ""
    by: str | None = None
    said: str | None = None
    before: dict[str, JsonValue] = Field(default_factory=dict)
    undone: bool = False
    operation: str | None = None

    def is_of(self, change: Change) -> bool:
        """Whether one operation made both changes; in records of older releases, whether they have the same time."""
        return self.operation == change.operation and (self.operation is not None or self.at == change.at)
