"""The operations that change an owner's preferences; see `owned.OwnedPreferences` for what they promise."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, get_type_hints

from la_agents.errors import ConfigurationError, InvalidPreferenceError, PreferenceNotFoundError
from la_agents.preferences.consolidation.conflicts import Keep, check_keep, decided
from la_agents.preferences.consolidation.judging import Consolidator, Judgements
from la_agents.preferences.consolidation.plan import Plan
from la_agents.preferences.consolidation.races import merged_twins
from la_agents.preferences.history import Change, Operation
from la_agents.preferences.ledger import Ledger, current, existing
from la_agents.preferences.lifecycle import (
    added,
    forgotten,
    last_undoable,
    rated,
    reinstated,
    superseding,
    undone,
    updated,
)
from la_agents.preferences.preference import Choices, Preference, PreferenceDraft, Review, utc_now
from la_agents.preferences.ratings import WeightRule, check_score
from la_agents.preferences.record import StoredPreference, Vector
from la_agents.preferences.storage.locks import writer
from la_agents.preferences.storage.records import user_digest

__all__ = ["add", "decide", "erase", "forget", "is_erased_since", "new_record", "new_records", "rate", "undo", "update"]

_DRAFT_FIELDS = set(PreferenceDraft.model_fields)


def add(
    ledger: Ledger,
    consolidator: Consolidator,
    owner: str,
    drafts: Sequence[PreferenceDraft],
    *,
    consolidate: bool = True,
) -> list[Preference]:
    """Store drafts, and return the stored preference of each: a new one, or the one that it repeats."""
    now = utc_now()
    new = new_records(ledger, owner, drafts, now)
    judgements = Judgements(consolidator) if consolidate else None
    ids: list[str] = []
    now_known: dict[str, Preference] = {}

    def change(known: Sequence[StoredPreference]) -> Sequence[StoredPreference]:
        plan = Plan(known, judgements, now)
        ids[:] = [plan.add(record, operation) for record, operation in new]
        now_known.update({record.preference.id: record.preference for record in known})
        return [*plan.written.values()]

    written = ledger.edit(owner, change, judgements)
    now_known |= {record.preference.id: record.preference for record in written}
    if consolidate and ledger.shards.folder is None:  # a server's, where other processes write too
        now_known |= _merge_twins(ledger, owner, ids)
    return [now_known[id] for id in ids]


def update(ledger: Ledger, owner: str, id: str, changes: Mapping[str, Any]) -> Preference:
    """Change the given fields of a preference."""
    fields = ["text", *get_type_hints(Choices)]
    if not changes or not changes.keys() <= {*fields}:
        got = ", ".join(changes.keys() - {*fields}) or "none"
        msg = f"Expected some of {', '.join(fields)} to change, got {got}."
        raise ConfigurationError(msg)
    ledger.limits.check_metadata(changes.get("metadata") or {})
    operation = Operation(utc_now())
    if "weight" not in changes and "expires_at" not in changes:
        return ledger.edit_one(owner, id, lambda record: updated(record, changes, operation)).preference

    def change(known: Sequence[StoredPreference]) -> Sequence[StoredPreference]:
        return [updated(current(known, id), changes, operation)]

    return ledger.edit(owner, change)[0].preference


def forget(ledger: Ledger, owner: str, id: str) -> Preference:
    """Mark a preference as forgotten, and return it as it was."""
    before: list[Preference] = []

    def change(record: StoredPreference) -> StoredPreference:
        before[:] = [record.preference]
        return forgotten(record, Operation(utc_now()))

    ledger.edit_one(owner, id, change)
    return before[0]


def undo(ledger: Ledger, owner: str, id: str) -> list[Preference]:
    """Undo the latest change of a preference, and return the changed preferences."""
    operation = Operation(utc_now())

    def change(known: Sequence[StoredPreference]) -> Sequence[StoredPreference]:
        return _undone(known, existing(known, id), operation)

    return [record.preference for record in ledger.edit(owner, change)]


def decide(ledger: Ledger, owner: str, older: str, newer: str, keep: Keep) -> list[Preference]:
    """Decide a possible conflict, and return the changed preferences."""
    check_keep(keep)
    if older == newer:
        msg = f"Expected the ids of two preferences, got {older!r} twice; see conflicts(user)."
        raise ConfigurationError(msg)
    operation = Operation(utc_now())

    def change(known: Sequence[StoredPreference]) -> Sequence[StoredPreference]:
        return decided(current(known, older), current(known, newer), keep, operation)

    return [record.preference for record in ledger.edit(owner, change)]


def rate(ledger: Ledger, owner: str, ids: Collection[str], score: float, rule: WeightRule) -> list[Preference]:
    """Change the weights of preferences, all of them or none, and return the changed ones.

    Raises:
        PreferenceNotFoundError: there are ids, and none is of a preference of this owner that applies.
        ConfigurationError: the score is not within [-1, 1], or ids is a single one.
    """
    check_score(score)
    if isinstance(ids, str):
        msg = f"Expected a list of ids, got {ids!r}; wrap a single one in a list."
        raise ConfigurationError(msg)
    operation = Operation(utc_now())

    def change(known: Sequence[StoredPreference]) -> Sequence[StoredPreference]:
        current = [each for each in known if each.preference.id in ids and not each.preference.is_archived]
        if ids and not current:
            msg = "Expected an answer that used preferences which this user has, got another's, or forgotten ones."
            raise PreferenceNotFoundError(msg)
        moved = [(each, rule.apply(each.preference.weight, score)) for each in current]
        why = f"an answer was rated {score:+g}"
        return [rated(each, weight, operation, why) for each, weight in moved if weight != each.preference.weight]

    return [record.preference for record in ledger.edit(owner, change)]


def erase(ledger: Ledger, owner: str) -> int:
    """Remove all of the owner's records, and return their number."""
    with writer(owner):
        number = ledger.records.erase(owner)
        ledger.erased_at[user_digest(owner)] = time.monotonic()
    return number


def is_erased_since(ledger: Ledger, owner: str, moment: float) -> bool:
    """Whether this process erased the owner after that moment of the monotonic clock."""
    return ledger.erased_at.get(user_digest(owner), moment) > moment


def new_records(
    ledger: Ledger, owner: str, drafts: Sequence[PreferenceDraft], now: datetime, review: Review | None = None
) -> list[tuple[StoredPreference, Operation]]:
    """Return new records for drafts, embedded, each with an operation of its own."""
    most = ledger.shards.max_batch_size()
    if len(drafts) > most:
        msg = f"Expected at most {most} preferences at once, got {len(drafts)}; add them in parts."
        raise InvalidPreferenceError(msg)
    for draft in drafts:
        ledger.limits.check_metadata(draft.metadata)
    vectors = ledger.embed([draft.text for draft in drafts])
    operations = [Operation(now + timedelta(microseconds=index)) for index in range(len(drafts))]
    return [
        (new_record(_preference(draft, owner, operation.at, review), vector, operation), operation)
        for draft, vector, operation in zip(drafts, vectors, operations, strict=True)
    ]


def new_record(preference: Preference, vector: Vector | None, operation: Operation) -> StoredPreference:
    """Return the record of a preference that is about to be added."""
    return StoredPreference(preference, vector, added(preference, operation))


def _merge_twins(ledger: Ledger, owner: str, ids: Sequence[str]) -> dict[str, Preference]:
    """Merge added preferences with the same ones of other processes, and return by id what they became."""
    with writer(owner):
        active = ledger.active(owner, vectors=True, history=True)
        merged = ledger.write(owner, merged_twins(active, ids, Operation(utc_now())))
    now = {record.preference.id: record.preference for record in merged}
    return {id: now.get(each.superseded_by or "", each) for id, each in now.items()}


def _undone(
    known: Sequence[StoredPreference], record: StoredPreference, operation: Operation
) -> list[StoredPreference]:
    """Return the records to write to undo the latest change of this one."""
    id = record.preference.id
    index = last_undoable(record)
    if index is None:  # it is as it was added: what it has replaced comes back
        return _reinstated(known, id, operation) or [undone(record, operation)]  # the latter raises
    change = record.changes[index]
    restored = [undone(record, operation)]
    if change.kind in ("refreshed", "merged", "approved"):
        restored += _reinstated(known, id, operation, change)
    if change.kind == "merged" and change.said is not None:
        draft = PreferenceDraft(**{**_draft(record.preference), "text": change.said})
        again = _preference(draft, record.preference.user_id, operation.at)
        restored.append(new_record(again, None, operation))
    if change.kind == "decided":
        restored += [
            undone(other, operation)
            for other in known
            if other.preference.id != id
            and (last := last_undoable(other)) is not None
            and other.changes[last].is_of(change)
        ]
    return restored


def _reinstated(
    known: Sequence[StoredPreference], by: str, operation: Operation, change: Change | None = None
) -> list[StoredPreference]:
    """Return what this preference has superseded, by the operation of that change or any, as active again."""
    return [
        reinstated(record, index, operation)
        for record in known
        if (index := superseding(record, by)) is not None and (change is None or record.changes[index].is_of(change))
    ]


def _preference(draft: PreferenceDraft, owner: str, at: datetime, review: Review | None = None) -> Preference:
    """Return a new preference of this owner from a draft."""
    fixed: dict[str, Any] = {"id": secrets.token_hex(8), "user_id": owner, "review": review}
    times: dict[str, Any] = dict.fromkeys(("created_at", "updated_at", "last_said_at"), at)
    return Preference(**_draft(draft), **times, **fixed)


def _draft(preference: PreferenceDraft) -> dict[str, Any]:
    return preference.model_dump(include=_DRAFT_FIELDS)
