"""What happened to a preference: each change with the values that it replaced, so that it can be undone and read
back."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

__all__ = ["Change", "ChangeKind"]

ChangeKind = Literal[
    "added",
    "refreshed",
    "merged",
    "superseded",
    "updated",
    "rated",
    "approved",
    "rejected",
    "forgotten",
    "imported",
    "undone",
]


class Change(BaseModel):
    """One entry of `history(user, id)`.

    Attributes:
        at: When.
        kind: `refreshed`: said again. `merged`: restated. `rated`: an answer that used it was rated. `imported`: a file
            had it otherwise. `undone`: the change before it was taken back.
        why: In words.
        by: The id of the preference that took its place.
        said: The words that were said again or restated.
        before: The values that this change replaced, by field.
        undone: Whether it was taken back later.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: AwareDatetime
    kind: ChangeKind
    why: str = ""
    by: str | None = None
    said: str | None = None
    before: dict[str, JsonValue] = Field(default_factory=dict)
    undone: bool = False
