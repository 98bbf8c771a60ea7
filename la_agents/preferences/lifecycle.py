"""How a stored preference changes over its life: pure functions from record to record, each noted in its history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import reduce
from typing import Any

from la_agents.errors import ConfigurationError, InvalidPreferenceError
from la_agents.preferences.history import Change, ChangeKind, Operation
from la_agents.preferences.preference import MAX_LINKS, Preference, PreferenceDraft, validated
from la_agents.preferences.record import StoredPreference

__all__ = [
    "MAX_CHANGES",
    "MAX_HISTORY_CHARS",
    "added",
    "approved",
    "bounded",
    "forgotten",
    "imported",
    "kept_beside",
    "last_undoable",
    "rated",
    "refreshed",
    "reinstated",
    "rejected",
    "settled",
    "superseded",
    "superseding",
    "undone",
    "updated",
    "version_at",
    "versions",
]

MAX_CHANGES = 200
"""How many changes a preference remembers; beyond, the oldest are dropped, so that no record grows without bound."""

MAX_HISTORY_CHARS = 64_000
"""How long they may be together, as JSON; beyond, the oldest are dropped."""

_MAX_WHY_CHARS = 300
_DOUBTS = ("confidence", "expires_at", "half_life_days")
_CHOSEN = ("scope", "weight", "expires_at", "confidence", "half_life_days", "locked", "metadata")
_APPLIES = {"superseded_at": None, "superseded_by": None, "also_superseded_by": (), "superseded_until": None}
_FIXED = ("id", "user_id")
_DERIVED = {"superseded_until"}


def added(preference: Preference, operation: Operation) -> tuple[Change, ...]:
    """Return the history of a preference that is about to be added."""
    return (Change(at=preference.created_at, kind="added", why=preference.source, operation=operation.id),)


def refreshed(
    record: StoredPreference, again: Preference, operation: Operation, why: str, *, restated: bool, revives: bool = True
) -> StoredPreference:
    """Return the preference as it is after it was said again, by a source that it does not outrank.

    The wording that says more stays, or that of what ranks higher. What the new one chooses (scope, weight, ...) is
    taken over where it is not the default. Said again without an end, it has none; said again after it was switched
    off, it applies, and so it does while it is superseded for a time, if the new one `revives` it. What ranked lower
    has no doubt, expiry or decay left but what the higher one gives it.
    """
    old = record.preference
    values: dict[str, Any] = {
        "num_said": old.num_said + again.num_said,
        "last_said_at": max(old.last_said_at, again.last_said_at),
        "expires_at": again.expires_at,
        "weight": old.weight or again.weight,
        **(_APPLIES if revives else {}),
        **({field: getattr(again, field) for field in _DOUBTS} if again.outranks(old) else {}),
        **_choices(again),
        "source": again.source if again.outranks(old) else old.source,
    }
    if restated and (again.outranks(old) or len(again.text) >= len(old.text)):
        values["text"] = again.text
    kind: ChangeKind = "merged" if restated else "refreshed"
    return _changed(record, operation, values, kind=kind, why=why, said=again.text)


def superseded(record: StoredPreference, by: Preference, operation: Operation, why: str) -> StoredPreference:
    """Return the preference as superseded by another, for as long as that one applies."""
    old, others, until = record.preference, list[str](), by.expires_at
    if old.is_suspended(operation.at):
        others = [id for id in old.links if id != by.id][-MAX_LINKS:]
        until = _later(until, old.superseded_until)
    values: dict[str, Any] = {**_APPLIES, "superseded_at": operation.at, "superseded_by": by.id}
    values |= {"also_superseded_by": others, "superseded_until": until}
    return _changed(record, operation, values, kind="superseded", why=why, by=by.id)


def settled(records: Sequence[StoredPreference]) -> list[StoredPreference]:
    """Return one user's records with `superseded_until` derived from the preferences that supersede them.

    A preference without expiry supersedes for good, until that is undone; one that expires only while it applies.
    """
    if not any(record.preference.links for record in records):
        return [*records]
    found = {record.preference.id: record.preference for record in records}
    return [_settled(record, found) if record.preference.links else record for record in records]


def _settled(record: StoredPreference, found: Mapping[str, Preference]) -> StoredPreference:
    old = record.preference
    others = [found[id] for id in old.links if id in found]
    ends = [min(each.expires_at, each.forgotten_at or each.expires_at) if each.expires_at else None for each in others]
    until = reduce(_later, ends) if ends else None
    if until == old.superseded_until:
        return record
    return replace(record, preference=old.model_copy(update={"superseded_until": until}))


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return None if one is None or other is None else max(one, other)


def superseding(record: StoredPreference, by: str) -> int | None:
    """Return the index of the change by which `by` superseded this record; None if it did not."""
    if record.preference.superseded_by != by:
        return None
    found = [i for i, c in enumerate(record.changes) if c.kind == "superseded" and c.by == by and not c.undone]
    return found[-1] if found else None


def reinstated(record: StoredPreference, index: int, operation: Operation) -> StoredPreference:
    """Return the preference as if this change had not superseded it; its other changes stay."""
    change = record.changes[index]
    before = {field: change.before.get(field, getattr(record.preference, field)) for field in _APPLIES}
    return _taken_back(record, index, before, operation)


def imported(record: StoredPreference, line: Preference, operation: Operation) -> StoredPreference:
    """Return the preference with the values of an imported line and its own history, so that it can be undone."""
    values = line.model_dump(exclude={"id", "user_id", "created_at", *_DERIVED})
    return _changed(record, operation, values, kind="imported", why="from a file")


def forgotten(record: StoredPreference, operation: Operation) -> StoredPreference:
    """Return the preference as forgotten."""
    return _changed(record, operation, {"forgotten_at": operation.at}, kind="forgotten", why="by its user")


def updated(record: StoredPreference, values: Mapping[str, Any], operation: Operation) -> StoredPreference:
    """Return the preference with changed values; a new text counts as said now, and as not superseded.

    Raises:
        InvalidPreferenceError: a new value is out of its limits, or its source ranks below the present one.
    """
    said: dict[str, Any] = {"last_said_at": operation.at} if "text" in values else {}
    if "text" in values and record.preference.state_at(operation.at) != "superseded":
        said |= _APPLIES
    changed = _changed(record, operation, {**said, **values}, kind="updated", why="by its user")
    if record.preference.outranks(changed.preference):
        msg = (
            f"source: Expected none that ranks below {record.preference.source!r}, got {changed.preference.source!r}; "
            "propose the change: proposals.add(user, [{..., 'supersedes': [id]}])."
        )
        raise InvalidPreferenceError(msg)
    return changed


def rated(record: StoredPreference, weight: float, operation: Operation, why: str) -> StoredPreference:
    """Return the preference with the weight that a rating gives it.

    Raises:
        InvalidPreferenceError: the weight is out of its limits.
    """
    return _changed(record, operation, {"weight": weight}, kind="rated", why=why)


def approved(record: StoredPreference, operation: Operation) -> StoredPreference:
    """Return the proposal as approved, which counts as said now."""
    values = {"review": None, "source": "approved", "last_said_at": operation.at, **_APPLIES}
    return _changed(record, operation, values, kind="approved", why="by its user")


def rejected(record: StoredPreference, operation: Operation) -> StoredPreference:
    """Return the proposal as rejected."""
    return _changed(record, operation, {"review": "rejected"}, kind="rejected", why="by its user")


def kept_beside(record: StoredPreference, digest: str, operation: Operation) -> StoredPreference:
    """Return the preference with the decision that it is kept beside another one; the digest is of both texts."""
    kept = [each for each in record.preference.kept_beside if each != digest][1 - MAX_LINKS :]
    return _changed(record, operation, {"kept_beside": (*kept, digest)}, kind="decided", why="kept by its user")


def undone(record: StoredPreference, operation: Operation) -> StoredPreference:
    """Return the preference as it was before its latest operation that is not undone.

    Raises:
        ConfigurationError: nothing but its addition is left.
    """
    index = last_undoable(record)
    if index is None:
        msg = "Expected a change to undo, got a preference that is as it was first added; see history(user, id)."
        raise ConfigurationError(msg)
    change = record.changes[index]
    before = {field: value for field, value in change.before.items() if field != "updated_at"}
    restored = _taken_back(record, index, before, operation)
    earlier = last_undoable(restored)
    again = earlier is not None and restored.changes[earlier].is_of(change)  # an approval may make two
    return undone(restored, operation) if again else restored


def _taken_back(
    record: StoredPreference, index: int, before: Mapping[str, Any], operation: Operation
) -> StoredPreference:
    change = record.changes[index]
    marked = (*record.changes[:index], change.model_copy(update={"undone": True}), *record.changes[index + 1 :])
    applies = "superseded_at" in before and before["superseded_at"] is None
    values = {**before, **(_APPLIES if applies else {})}
    return _changed(replace(record, changes=marked), operation, values, kind="undone", why=f"{change.kind} taken back")


def last_undoable(record: StoredPreference) -> int | None:
    """Return the index of the latest change that can be undone; None if there is none."""
    kept = [i for i, c in enumerate(record.changes) if c.kind not in ("added", "undone") and not c.undone]
    return kept[-1] if kept else None


def version_at(record: StoredPreference, at: datetime) -> Preference | None:
    """Return the preference as it was at a time, by its history; None if it was added later."""
    if record.preference.created_at > at:
        return None
    values = record.preference.model_dump(mode="json")
    for change in reversed(record.changes):
        if change.at > at:
            values |= {field: value for field, value in change.before.items() if field in values}
    values |= record.preference.model_dump(include={*_FIXED})
    version = validated(Preference, values)
    said = min(version.last_said_at, version.updated_at)  # older releases noted only the latter
    return version.model_copy(update={"last_said_at": said, "superseded_until": None})


def versions(record: StoredPreference) -> Iterator[Preference]:
    """Yield the preference as it was before each change, the latest first.

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


def _changed(
    record: StoredPreference,
    operation: Operation,
    values: Mapping[str, Any],
    *,
    kind: ChangeKind,
    why: str,
    by: str | None = None,
    said: str | None = None,
) -> StoredPreference:
    old = record.preference
    known = {field: value for field, value in values.items() if field in Preference.model_fields}
    fixed = old.model_dump(include={*_FIXED})  # whatever a history that was imported says
    new = validated(Preference, {**old.model_dump(), "updated_at": operation.at, **known, **fixed})
    was, now = old.model_dump(mode="json", exclude=_DERIVED), new.model_dump(mode="json", exclude=_DERIVED)
    change = Change(
        at=operation.at,
        kind=kind,
        why=why[:_MAX_WHY_CHARS],
        by=by,
        said=said,
        before={field: was[field] for field in was if was[field] != now[field]},
        operation=operation.id,
    )
    vector = record.vector if new.text == old.text else None
    return replace(record, preference=new, vector=vector, changes=bounded((*record.changes, change)))


def bounded(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return the first change and as many of the latest ones as a record may hold."""
    if not changes:
        return ()
    first, rest = changes[0], [*changes[1:]][1 - MAX_CHANGES :]
    room = MAX_HISTORY_CHARS - len(first.model_dump_json(exclude_defaults=True))
    kept: list[Change] = []
    for change in reversed(rest):
        room -= len(change.model_dump_json(exclude_defaults=True)) + 2
        if room < 0:
            break
        kept.append(change)
    return (first, *reversed(kept))
