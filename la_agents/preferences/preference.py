"""What a preference is: pure values with their limits. Where and how they are stored is not known here."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
)
from typing_extensions import TypedDict

from la_agents.errors import InvalidPreferenceError
from la_agents.preferences.suggestion import suggested_scope
from la_agents.principles import Principle

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "MAX_LINKS",
    "MAX_TEXT_CHARS",
    "Changes",
    "Choices",
    "Id",
    "Preference",
    "PreferenceDraft",
    "Review",
    "Scope",
    "ScoredPreference",
    "Source",
    "State",
    "as_draft",
    "as_drafts",
    "clock",
    "utc_now",
    "validated",
]

MAX_TEXT_CHARS = 2_000

Scope = Literal["always", "relevant"]
"""`always`: part of every call. `relevant`: part of the calls whose query it resembles."""

Source = Literal["explicit", "approved", "inferred", "imported"]
"""`explicit`: said by the user. `approved`: concluded, then approved by the user. `inferred`: concluded from what was
said or done. `imported`: from elsewhere; it ranks with what was approved."""

_RANKS: Mapping[str, int] = {"explicit": 2, "approved": 1, "imported": 1, "inferred": 0}

State = Literal["active", "pending", "superseded", "expired", "forgotten", "rejected"]
"""Only an `active` preference applies; the others stay in the history until they are erased."""

Review = Literal["pending", "rejected"]
"""Of a proposal: whether it waits for approval, or was rejected."""


MAX_LINKS = 50
"""How many other preferences one can name, in `supersedes` and in `kept_beside`."""


_UNSEEN = ("Cc", "Cf", "Zl", "Zp", "Zs")  # controls, what has no width, and spaces


class Clock:
    """The time of this library's memory; tests set it: `clock.now = lambda: ...`."""

    now: Callable[[], datetime] = staticmethod(lambda: datetime.now(timezone.utc))


clock = Clock()


def utc_now() -> datetime:
    """The time now, aware, in UTC; see `clock`."""
    return clock.now()


def _check_text(text: str) -> str:
    text = text.strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        msg = "Expected valid Unicode, got a lone surrogate; decode the text properly first"
        raise ValueError(msg) from None
    if all(unicodedata.category(character) in _UNSEEN for character in text):
        msg = "Expected text, got blank text; write the preference in words"
        raise ValueError(msg)
    if len(text) > MAX_TEXT_CHARS:
        msg = f"Expected at most {MAX_TEXT_CHARS} characters, got {len(text)}; shorten it or split it"
        raise ValueError(msg)
    return text


def _check_weight(weight: float) -> float:
    if not (math.isfinite(weight) and weight >= 0):
        msg = f"Expected a finite number >= 0, got {weight}; use 0 to switch a preference off"
        raise ValueError(msg)
    return weight


def _none_is_empty(metadata: Any) -> Any:
    return {} if metadata is None else metadata


def _check_metadata(metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        msg = "Expected less deeply nested metadata, got more levels than JSON can be read back from; flatten it"
        raise ValueError(msg) from None
    except ValueError:
        msg = "Expected finite numbers and valid Unicode, got NaN, an infinity or a lone surrogate; replace it"
        raise ValueError(msg) from None
    return metadata


Text = Annotated[str, AfterValidator(_check_text)]


def _check_list(ids: Any) -> Any:
    if isinstance(ids, str):
        msg = f"Expected a list of ids, got {ids!r}; wrap a single one in a list"
        raise ValueError(msg)
    return ids


Weight = Annotated[float, AfterValidator(_check_weight)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Metadata = Annotated[dict[str, JsonValue], BeforeValidator(_none_is_empty), AfterValidator(_check_metadata)]


class Choices(TypedDict, total=False):
    """What may be chosen with a preference's text; see `PreferenceDraft`."""

    scope: Scope
    weight: float
    expires_at: datetime | None
    source: Source
    confidence: float
    half_life_days: float | None
    locked: bool
    metadata: Mapping[str, Any] | None


class Changes(Choices, total=False):
    """What may be changed of a preference."""

    text: str


class PreferenceDraft(BaseModel):
    """A preference before it is stored: what a caller may choose.

    Attributes:
        text: The preference in natural language, 1 to 2,000 characters; outer whitespace is dropped.
        scope: Whether it applies to every call or to similar queries only.
        weight: How strongly it is followed, finite and >= 0; 1 is normal, 0 switches it off.
        expires_at: When it stops applying, with a time zone; None for never.
        source: How it came to be known. A lower-ranking source never changes a higher-ranking one; see `outranks`.
        confidence: How certain it was when it was inferred or imported, in [0, 1]; stored and shown.
        half_life_days: Days after which its weight halves, unless it is said again; None for never.
        locked: In a shared layer: no user's own preference overrules it.
        supersedes: Ids of the user's preferences that it replaces; a proposal replaces them once it is approved.
        metadata: Any JSON values; stored and never read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Text
    scope: Scope = "relevant"
    weight: Weight = 1.0
    expires_at: AwareDatetime | None = None
    source: Source = "explicit"
    confidence: float = Field(default=1.0, ge=0.0, le=1.0)
    half_life_days: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    locked: bool = False
    supersedes: Annotated[tuple[Id, ...], BeforeValidator(_check_list)] = Field(default=(), max_length=MAX_LINKS)
    metadata: Metadata = Field(default_factory=dict)

    def outranks(self, other: PreferenceDraft) -> bool:
        """Whether its source ranks higher: the other one never changes it. explicit > approved, imported > inferred."""
        return self.rank > other.rank

    @property
    def rank(self) -> int:
        """How much its source counts; see `outranks`."""
        return _RANKS[self.source]


class Preference(PreferenceDraft):
    """A stored preference of one user.

    Attributes:
        id: Unique among the user's own preferences.
        user_id: The user it belongs to.
        created_at: When it was first stored, UTC.
        updated_at: When anything about it was last changed, UTC.
        last_said_at: When it was last said, UTC; its weight fades from then on.
        num_said: How often it was said, restatements included.
        superseded_at: When another preference replaced it; `superseded_by` is the id of that one.
        also_superseded_by: Others that replace it, too: it applies again when none of them does.
        superseded_until: When it applies again; None for never. Not stored: it is derived from the others, see
            `lifecycle.settled`.
        forgotten_at: When it was forgotten.
        review: Its state as a proposal that is not approved; None if it needs no approval.
        kept_beside: Digests of its text with those of others that its user decided to keep beside it.
    """

    id: str
    user_id: str
    created_at: AwareDatetime
    updated_at: AwareDatetime
    last_said_at: AwareDatetime = Field(default_factory=lambda data: data.get("updated_at"))  # in older records
    num_said: int = Field(default=1, ge=1)
    superseded_at: AwareDatetime | None = None
    superseded_by: str | None = None
    also_superseded_by: tuple[str, ...] = Field(default=(), max_length=MAX_LINKS)
    superseded_until: AwareDatetime | None = None
    forgotten_at: AwareDatetime | None = None
    review: Review | None = None
    kept_beside: tuple[str, ...] = Field(default=(), max_length=MAX_LINKS)

    @property
    def suggested_scope(self) -> Scope:
        """`always` if it looks as if it mattered to a whole field of questions; see `suggestion.suggested_scope`."""
        return suggested_scope(self.text)

    @property
    def links(self) -> tuple[str, ...]:
        """Ids of the preferences that supersede it."""
        return (*self.also_superseded_by, self.superseded_by) if self.superseded_by else ()

    @property
    def is_archived(self) -> bool:
        """Whether no call can use it, now or later: it is superseded for good, forgotten, or not approved."""
        is_superseded = self.superseded_at is not None and self.superseded_until is None
        return is_superseded or self.forgotten_at is not None or self.review is not None

    @property
    def state(self) -> State:
        """Its state now."""
        return self.state_at(utc_now())

    def state_at(self, at: datetime) -> State:
        """Its state at a time, if it is not changed until then."""
        if self.forgotten_at is not None:
            return "forgotten"
        if self._is_superseded(at):
            return "superseded"
        if self.review is not None:
            return self.review
        return "active" if self.expires_at is None or at < self.expires_at else "expired"

    def is_active(self, at: datetime | None = None) -> bool:
        """Whether it applies at that time (default: now)."""
        return self.state_at(at or utc_now()) == "active"

    def is_suspended(self, at: datetime) -> bool:
        """Whether it is superseded at that time by one that expires, and applies again afterwards."""
        return self.superseded_until is not None and self._is_superseded(at) and self.is_active(self.superseded_until)

    def is_comparable(self, at: datetime) -> bool:
        """Whether it applies at that time or is suspended: what a new preference is compared with."""
        return self.is_active(at) or self.is_suspended(at)

    def _is_superseded(self, at: datetime) -> bool:
        return self.superseded_at is not None and (self.superseded_until is None or at < self.superseded_until)

    def effective_weight(self, at: datetime | None = None) -> float:
        """The weight after decay: w * 2 ** -(days since it was last said / half_life_days)."""
        if self.half_life_days is None:
            return self.weight
        days = max(0.0, ((at or utc_now()) - self.last_said_at).total_seconds() / 86_400)
        return float(self.weight * 2.0 ** -(days / self.half_life_days))


class ScoredPreference(BaseModel):
    """A preference found for a query.

    Attributes:
        preference: What was found.
        relevance: Similarity to the query in [-1, 1]: of `search` the cosine, of `retrieve` see
            `ranking.most_relevant`; None if it applies whatever the query is.
        layer: "user", or the name of the shared layer that it came from.
        as_of: The time for which it was found; None for now.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preference: Preference
    relevance: float | None
    layer: str = "user"
    as_of: AwareDatetime | None = None

    @property
    def weight(self) -> float:
        """The preference's weight after decay, at the time for which it was found."""
        return self.preference.effective_weight(self.as_of)

    @property
    def principle(self) -> Principle:
        """What a call is aligned with."""
        found = self.preference
        return Principle(found.text, self.weight, found.id, self.relevance, self.layer)


_MAX_PARTS = 5  # of the place of an error, in its message
ModelT = TypeVar("ModelT", bound=BaseModel)


def validated(model: type[ModelT], values: Mapping[str, Any], where: str = "") -> ModelT:
    """Build a model from a mapping, with this library's error.

    Args:
        model: The class to build.
        values: Its fields.
        where: What the message starts with, such as "line 3: ".

    Raises:
        InvalidPreferenceError: a field is missing, unknown or out of its limits; the message names it.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"][:_MAX_PARTS])
        msg = f"{where}{field}: {_reason(model, first)}."
        raise InvalidPreferenceError(msg) from None


def _reason(model: type[BaseModel], error: ErrorDetails) -> str:
    """Return pydantic's message in the form "Expected ..., got ..."; our own validators already have it."""
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return "Expected a value, got none"
    if error["type"] == "extra_forbidden":
        return f"Expected one of the fields {', '.join(model.model_fields)}, got an unknown one; leave it out"
    if error["type"] in ("recursion_depth_exceeded", "recursion_loop"):  # pydantic 2.11 takes depth for a loop
        return "Expected less deep nesting, got more levels than can be checked; flatten it"
    came = repr(error["input"])
    shown = came if len(came) <= 60 else type(error["input"]).__name__
    return f"{re.sub('^(Input|String) should', 'Expected it to', error['msg'])}, got {shown}"


def as_draft(item: str | Mapping[str, Any] | PreferenceDraft, where: str = "") -> PreferenceDraft:
    """Accept a bare text or a mapping beside a draft, as `add_many` does.

    Raises:
        InvalidPreferenceError: it is none of these, or not a valid preference.
    """
    if isinstance(item, PreferenceDraft):
        return item
    if isinstance(item, str):
        item = {"text": item}
    if not isinstance(item, Mapping):
        msg = f"{where}Expected a text, a mapping or a PreferenceDraft, got {type(item).__name__}."
        raise InvalidPreferenceError(msg)
    return validated(PreferenceDraft, item, where)


def as_drafts(items: Iterable[str | Mapping[str, Any] | PreferenceDraft]) -> list[PreferenceDraft]:
    """Accept several; an error names the item's position, from 0.

    Raises:
        InvalidPreferenceError: it is a single one, or one of them is not valid.
    """
    if isinstance(items, (str, Mapping, PreferenceDraft)) or not isinstance(items, Iterable):
        msg = f"Expected a list of preferences, got {type(items).__name__}; wrap a single one in a list."
        raise InvalidPreferenceError(msg)
    return [as_draft(item, f"item {index}: ") for index, item in enumerate(items)]
