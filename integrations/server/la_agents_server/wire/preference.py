"""Preferences: the requests of the preferences API. What comes back is `memory.view`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from la_agents.preferences import MAX_TEXT_CHARS, Scope
from la_agents.users import MAX_USER_ID_CHARS
from la_agents_server.wire.numbers import WHOLE

__all__ = [
    "Decision",
    "Draft",
    "Feedback",
    "LayerDraft",
    "Listed",
    "Moment",
    "NewKey",
    "NewLink",
    "Patch",
    "PreferenceView",
    "Search",
]

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS, pattern=r"\S")]
_PLAIN = r"[^\x00-\x1f\x7f-\x9f]*"
User = Annotated[str, Field(max_length=MAX_USER_ID_CHARS, pattern=rf"^{_PLAIN}[^\s\x00-\x1f\x7f-\x9f]{_PLAIN}$")]
Name = Annotated[str, Field(max_length=200, pattern=f"^{_PLAIN}$")]
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

    text: Text
    scope: Scope = "always"
    weight: Weight = 1.0
    locked: bool = False
    """Whether no user's own preference overrules it."""


class _NewKey(_Wire):
    """A key to make; see `la-agents-server keys add`."""

    name: Name = ""
    days: Annotated[float, Field(gt=0, le=36_500)] | None = None
    requests_per_minute: Annotated[int, Field(ge=1, le=100_000), WHOLE] | None = None
    max_concurrent: Annotated[int, Field(ge=1, le=100_000), WHOLE] | None = None


class NewAdminKey(_NewKey):
    """A key that manages keys and layers."""

    kind: Literal["admin"]


class NewPersonalKey(_NewKey):
    """A key of one user."""

    kind: Literal["personal"]
    user: User
    learns: bool = False


class NewApplicationKey(_NewKey):
    """A key of an application, which names its users."""

    kind: Literal["application"]
    prefix: Name = ""
    names_users: bool = False
    learns: bool = False


NewKey = Annotated[NewAdminKey | NewPersonalKey | NewApplicationKey, Field(discriminator="kind")]


class NewLink(_Wire):
    """A link that signs a user in to the page, once."""

    user: User
    hours: Annotated[float, Field(gt=0, le=720)] = 24.0


class UseView(BaseModel):
    """How a preference was used: in how many answers, how far it moved them (nats per token), and when last."""

    number: int
    moved: float
    last_at: AwareDatetime


class PreferenceView(BaseModel):
    """A preference as it is now."""

    model_config = ConfigDict(extra="allow")

    object: str
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


class Listed(BaseModel):
    """A page of a list; go on with `after` set to `last_id` while `has_more`."""

    object: str
    data: list[PreferenceView]
    has_more: bool
    last_id: str | None
