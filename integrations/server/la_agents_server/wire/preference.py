"""Preferences: the requests of the preferences API, and what it answers."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from la_agents.preferences import MAX_TEXT_CHARS, Scope
from la_agents_server.wire.listing import Listing
from la_agents_server.wire.numbers import WHOLE

__all__ = [
    "ConflictView",
    "Decision",
    "Draft",
    "Erased",
    "Feedback",
    "FoundView",
    "Imported",
    "LayerDraft",
    "LayerEntry",
    "LayerView",
    "Listed",
    "Moment",
    "Patch",
    "PreferenceView",
    "RatingView",
    "Search",
]

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS, pattern=r"\S")]
Weight = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Days = Annotated[float, Field(gt=0, le=36_500, allow_inf_nan=False)]


def _written_out(value: Any) -> Any:
    """Pydantic would take a number, be it as text, for seconds since 1970."""
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d[Tt ]", value):
        msg = "Expected a time such as 2030-01-31T00:00:00Z, got other text"
        raise ValueError(msg)
    return value


Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_written_out)]
"""A time with its zone, written out."""


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Draft(_Wire):
    """A preference to add, in the user's own words."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "Answer in short sentences.", "scope": "always", "weight": 1.0}]}
    )

    text: Text
    scope: Scope = "relevant"
    weight: Weight = 1.0
    expires_at: Moment | None = None
    half_life_days: Days | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    consolidate: bool = True
    """Whether what is already known is not stored twice, and what it contradicts is superseded."""


class Patch(_Wire):
    """What to change; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"weight": 2.0}], "minProperties": 1})

    text: Text = ""
    scope: Scope = "relevant"
    weight: Weight = 1.0
    expires_at: Moment | None = None
    """Null clears it, and so with the half-life."""
    half_life_days: Days | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)

    def changes(self) -> dict[str, Any]:
        """What was given."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Search(_Wire):
    """A question, to see what an answer to it would use."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": "Which restaurant should I try?"}]})

    query: Annotated[str, Field(max_length=20_000)]
    k: Annotated[int, Field(ge=0, le=100), WHOLE] | None = None
    """At most so many relevant ones; null for as many as an answer takes."""
    as_of: Moment | None = None


class Decision(_Wire):
    """What becomes of two preferences that may contradict or repeat each other."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"older": "082a2b7bcdc7fe07", "newer": "fd42c8964f56ac2c", "keep": "newer"}]}
    )

    older: Annotated[str, Field(min_length=1, max_length=100)]
    newer: Annotated[str, Field(min_length=1, max_length=100)]
    keep: Literal["older", "newer", "both"]


class Feedback(_Wire):
    """A rating of an answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"answer": "chatcmpl-0", "score": 1.0}]})

    answer: Annotated[str, Field(max_length=100)]
    """The `id` of the answer."""
    score: Annotated[float, Field(ge=-1, le=1)]
    comment: Annotated[str, Field(max_length=MAX_TEXT_CHARS)] | None = None


class LayerDraft(_Wire):
    """A preference of the organisation to add to a shared layer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "Never promise a refund.", "locked": True}]})

    text: Text
    scope: Scope = "always"
    weight: Weight = 1.0
    locked: bool = False
    """Whether no user's own preference overrules it."""


class UseView(BaseModel):
    """How a preference was used: in how many answers, how far it moved them (nats per token), and when last."""

    number: int
    moved: float
    last_at: AwareDatetime


class PreferenceView(BaseModel):
    """A preference as it is now."""

    model_config = ConfigDict(extra="allow")

    object: Literal["preference"]
    id: str
    text: str
    scope: Scope
    weight: float
    effective_weight: float
    state: str
    source: str
    confidence: float
    created_at: AwareDatetime
    updated_at: AwareDatetime
    expires_at: AwareDatetime | None
    half_life_days: float | None
    num_said: int
    superseded_by: str | None
    metadata: dict[str, JsonValue]
    use: UseView | None


class Listed(Listing[PreferenceView]):
    """A page of a list; go on with `after` set to `last_id` while `has_more`."""

    has_more: bool
    last_id: str | None


class FoundView(BaseModel):
    """A preference that an answer would use; `relevance` is null where it applies to every answer."""

    preference: PreferenceView
    layer: str
    relevance: float | None
    weight: float


class ConflictView(BaseModel):
    """Two preferences that may contradict or repeat each other."""

    older: PreferenceView
    newer: PreferenceView
    similarity: float


class RatingView(BaseModel):
    """What a rating did: preferences whose weight it changed, and proposals out of its comment."""

    object: Literal["feedback"]
    changed: list[PreferenceView]
    proposed: list[PreferenceView]


class Imported(BaseModel):
    """How many preferences a file held."""

    object: Literal["import"]
    imported: int


class Erased(BaseModel):
    """How many preferences were erased."""

    object: Literal["erasure"]
    erased: int


class LayerEntry(BaseModel):
    """A preference of a shared layer."""

    id: str
    text: str
    scope: Scope
    weight: float
    locked: bool


class LayerView(BaseModel):
    """A shared layer and what it holds."""

    object: Literal["layer"]
    name: str
    preferences: list[LayerEntry]
