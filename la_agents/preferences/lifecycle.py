"""How a stored preference changes over its life: pure functions from record to record, each noted in its history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from la_agents.errors import ConfigurationError, InvalidPreferenceError
from la_agents.preferences.history import Change, ChangeKind
from la_agents.preferences.preference import Preference, PreferenceDraft, validated
from la_agents.preferences.storage.records import StoredPreference

__all__ = [
    "MAX_CHANGES",
    "added",
    "approved",
    "following",
    "forgotten",
    "imported",
    "last_undoable",
    "rated",
    "refreshed",
    "reinstated",
    "rejected",
    "replaced_by",
    "superseded",
    "undone",
    "updated",
    "version_at",
    "versions",
]

MAX_CHANGES = 200
"""How many changes a preference remembers; beyond, the oldest are dropped, so that no record grows without bound."""

_DOUBTS = ("confidence", "expires_at", "half_life_days")
_CHOSEN = ("scope", "weight", "expires_at", "confidence", "half_life_days", "locked", "metadata")
_SUPERSEDED = ("superseded_at", "superseded_by", "superseded_until")
_FIXED = ("id", "user_id")


def added(preference: Preference) -> StoredPreference:
    """A new preference, with the first entry of its history."""
    return StoredPreference(
        preference, changes=(Change(at=preference.created_at, kind="added", why=preference.source),)
    )


def refreshed(record: StoredPreference, again: Preference, why: str, *, restated: bool) -> StoredPreference:
    """The preference said again.

    The wording that says more stays. What the new one chooses (scope, weight, ...) is taken over where it is not the
    default, unless it is only inferred and the old one is not. Said again without an end, it has none; said again
    after it was switched off, or by its user while it is superseded for a time, it applies. What was inferred and is
    now said has no doubt, expiry or decay left but what its user gives it.
    """
    old = record.preference
    values: dict[str, Any] = {"num_said": old.num_said + again.num_said}
    if again.source != "inferred":
        values |= dict.fromkeys(_SUPERSEDED)
    if not again.is_mere_inference_beside(old):
        values |= {"expires_at": again.expires_at, "weight": old.weight or again.weight}
        if old.is_mere_inference_beside(again):
            values |= {field: getattr(again, field) for field in _DOUBTS}
        values |= _choices(again)
        values["source"] = again.source if old.source == "inferred" else old.source
        if restated and len(again.text) >= len(old.text):
            values["text"] = again.text
    kind: ChangeKind = "merged" if restated else "refreshed"
    return _changed(record, again.created_at, values, kind=kind, why=why, said=again.text)


def superseded(
    record: StoredPreference, by: str, at: datetime, why: str, until: datetime | None = None
) -> StoredPreference:
    """The preference with another in its place, until that one expires."""
    values = {"superseded_at": at, "superseded_by": by, "superseded_until": until}
    return _changed(record, at, values, kind="superseded", why=why, by=by)


def following(
    written: Sequence[StoredPreference], known: Sequence[StoredPreference], at: datetime
) -> list[StoredPreference]:
    """Those that a written preference has the place of, until it expires, where it now expires at another time.

    What applies again by then, or was given other words meanwhile, is left as it is. That is no change of their own:
    taking back what superseded them is still what `undo` does.
    """
    ids = {record.preference.id for record in written}
    before = {record.preference.id: record.preference.expires_at for record in known}
    moved = {
        record.preference.id: record
        for record in written
        if record.preference.expires_at != before.get(record.preference.id, record.preference.expires_at)
    }
    return [
        _until(record, before[by.preference.id], by.preference.expires_at)
        for record in known
        if (by := moved.get(record.preference.superseded_by or "")) is not None
        and record.preference.id not in ids
        and record.preference.state_at(at) == "superseded"
        and not _reworded(record, record.preference.superseded_at)
        and not _reworded(by, record.preference.superseded_at)
    ]


def _until(record: StoredPreference, old_end: datetime | None, end: datetime | None) -> StoredPreference:
    """The superseded preference with another end, unless what had its place before the other one lasts longer."""
    until = record.preference.superseded_until
    if end is not None and until is not None and until != old_end:
        end = max(end, until)
    return replace(record, preference=record.preference.model_copy(update={"superseded_until": end}))


def _reworded(record: StoredPreference, since: datetime | None) -> bool:
    return since is not None and any(change.at > since and "text" in change.before for change in record.changes)


def reinstated(record: StoredPreference, by: str, at: datetime) -> StoredPreference:
    """The preference as if this other one had not taken its place; what else happened to it stays."""
    index = _superseding(record, by)
    assert index is not None  # whoever asks has looked
    change = record.changes[index]
    before = {field: change.before.get(field, getattr(record.preference, field)) for field in _SUPERSEDED}
    return _taken_back(record, index, before, at)


def replaced_by(record: StoredPreference, by: str, since: datetime | None = None) -> bool:
    """Whether this other one has its place, and took it at that time or later."""
    index = _superseding(record, by)
    return (
        index is not None
        and record.preference.superseded_by == by
        and (since is None or record.changes[index].at >= since)
    )


def _superseding(record: StoredPreference, by: str) -> int | None:
    found = [i for i, c in enumerate(record.changes) if c.kind == "superseded" and c.by == by and not c.undone]
    return found[-1] if found else None


def imported(record: StoredPreference, line: Preference, at: datetime) -> StoredPreference:
    """The preference as a file has it, with all that happened to it here; what it replaces can be undone."""
    values = line.model_dump(exclude={"id", "user_id", "created_at"})
    return _changed(record, at, values, kind="imported", why="from a file")


def forgotten(record: StoredPreference, at: datetime) -> StoredPreference:
    """The preference as forgotten by its user."""
    return _changed(record, at, {"forgotten_at": at}, kind="forgotten", why="by its user")


def updated(record: StoredPreference, values: Mapping[str, Any], at: datetime) -> StoredPreference:
    """The preference with values changed by its user.

    Raises:
        InvalidPreferenceError: a new value is out of its limits.
    """
    return _changed(record, at, values, kind="updated", why="by its user")


def rated(record: StoredPreference, weight: float, at: datetime, why: str) -> StoredPreference:
    """The preference with the weight that the rating of an answer gives it.

    Raises:
        InvalidPreferenceError: the weight is out of its limits.
    """
    return _changed(record, at, {"weight": weight}, kind="rated", why=why)


def approved(record: StoredPreference, at: datetime) -> StoredPreference:
    """The proposal as its user's own word."""
    return _changed(record, at, {"review": None, "source": "explicit"}, kind="approved", why="by its user")


def rejected(record: StoredPreference, at: datetime) -> StoredPreference:
    """The proposal as turned down by its user."""
    return _changed(record, at, {"review": "rejected"}, kind="rejected", why="by its user")


def undone(record: StoredPreference, at: datetime) -> StoredPreference:
    """The preference as it was before its latest change that still stands.

    Raises:
        ConfigurationError: nothing but its addition is left.
    """
    index = last_undoable(record)
    if index is None:
        msg = "Expected a change to undo, got a preference that is as it was first added; see history(user, id)."
        raise ConfigurationError(msg)
    before = {field: value for field, value in record.changes[index].before.items() if field != "updated_at"}
    return _taken_back(record, index, before, at)


def _taken_back(record: StoredPreference, index: int, before: Mapping[str, Any], at: datetime) -> StoredPreference:
    change = record.changes[index]
    marked = (*record.changes[:index], change.model_copy(update={"undone": True}), *record.changes[index + 1 :])
    stands = "superseded_at" in before and before["superseded_at"] is None
    values = {**before, **(dict.fromkeys(_SUPERSEDED) if stands else {})}
    return _changed(replace(record, changes=marked), at, values, kind="undone", why=f"{change.kind} taken back")


def last_undoable(record: StoredPreference) -> int | None:
    """The position of the latest change that is neither the addition, nor taken back, nor a taking back."""
    kept = [i for i, c in enumerate(record.changes) if c.kind not in ("added", "undone") and not c.undone]
    return kept[-1] if kept else None


def version_at(record: StoredPreference, at: datetime) -> Preference | None:
    """The preference as it was at a time, from the history; None if it was not there yet."""
    if record.preference.created_at > at:
        return None
    values = record.preference.model_dump()
    for change in reversed(record.changes):
        if change.at > at:
            values |= change.before
    return validated(Preference, values | record.preference.model_dump(include={*_FIXED}))


def versions(record: StoredPreference) -> Iterator[Preference]:
    """The preference as it was before each change, the latest first.

    Raises:
        InvalidPreferenceError: the history says of one what no preference can be.
    """
    fixed = {*_FIXED, "created_at"}
    values = record.preference.model_dump()
    for change in reversed(record.changes):
        if not fixed.isdisjoint(change.before):
            msg = f"history: Expected changes of anything but {', '.join(sorted(fixed))}, got one of these."
            raise InvalidPreferenceError(msg)
        values |= change.before
        yield validated(Preference, values, "history: ")


def _choices(draft: PreferenceDraft) -> dict[str, Any]:
    fields = PreferenceDraft.model_fields
    return {f: v for f in _CHOSEN if (v := getattr(draft, f)) != fields[f].get_default(call_default_factory=True)}


def _changed(record: StoredPreference, at: datetime, values: Mapping[str, Any], **about: Any) -> StoredPreference:
    old = record.preference
    fixed = old.model_dump(include={*_FIXED})  # whatever a history that was imported says
    new = validated(Preference, {**old.model_dump(), "updated_at": at, **values, **fixed})
    was, now = old.model_dump(mode="json"), new.model_dump(mode="json")
    before = {field: was[field] for field in was if was[field] != now[field]}
    vector = record.vector if new.text == old.text else None
    return StoredPreference(new, vector, _bounded((*record.changes, Change(at=at, before=before, **about))))


def _bounded(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """The addition and the latest others."""
    return changes if len(changes) <= MAX_CHANGES else (*changes[:1], *changes[1 - MAX_CHANGES :])
