"""Ledger: one owner's records, read as what applies and written within the limits, with vectors where they are missing.

What the operations on preferences have in common; knows no public argument. Slow work, embedding and judging, is done
while no lock is held: a change is tried on what lies in the store, and what it turns out to need is made before it is
tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import get_args

from la_agents.errors import ConfigurationError, InvalidPreferenceError, PreferenceNotFoundError
from la_agents.preferences.consolidation.judging import Judgements
from la_agents.preferences.embedding.vectorizer import Vectorizer
from la_agents.preferences.lifecycle import settled, version_at, versions
from la_agents.preferences.limits import Limits
from la_agents.preferences.owners import Layer
from la_agents.preferences.preference import Scope, utc_now
from la_agents.preferences.record import StoredPreference, Vector
from la_agents.preferences.storage.locks import writer
from la_agents.preferences.storage.shards import Shards
from la_agents.preferences.storage.slots import Places
from la_agents.preferences.storage.user_records import UserRecords

__all__ = ["Edit", "Ledger", "current", "existing"]

Edit = Callable[[Sequence[StoredPreference]], Sequence[StoredPreference]]
"""What to write, of all that an owner has. Called more than once, so it changes nothing itself."""

_MAX_LOOKS = 4
"""How often a change is tried before what it still needs is made under the lock: others may write without end."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Records of one owner at a time, named in every call by the id under which they lie (`owners.owner_of`)."""

    shards: Shards
    records: UserRecords
    vectorizer: Vectorizer
    limits: Limits

    def edit(self, owner: str, change: Edit, judgements: Judgements | None = None) -> list[StoredPreference]:
        """Write what a change makes of all that the owner has, and return that; nobody else writes meanwhile.

        Args:
            owner: Whose.
            change: What to write.
            judgements: What the change looks judgements up in; those that are missing are made in between.
        """
        vectors: dict[str, Vector] = {}
        for look in range(_MAX_LOOKS):
            with writer(owner):
                known = self.read(owner, vectors=True, archived=True)
                written = _moved(known, [_with_vector(record, vectors) for record in change(known)])
                bare = {record.preference.text for record in written if record.vector is None}
                is_ready = not bare and (judgements is None or judgements.is_complete)
                if is_ready or look == _MAX_LOOKS - 1:
                    self.check_total(owner, written, known)
                    return self.write(owner, written)
            self.check_total(owner, written, known)
            vectors |= self._embedded(bare)
            if judgements is not None:
                judgements.ask()
        raise AssertionError  # the last look returns

    def edit_one(self, owner: str, id: str, change: Callable[[StoredPreference], StoredPreference]) -> StoredPreference:
        """Write what a change makes of one record that may be changed, and return it; the others are not read.

        Raises:
            PreferenceNotFoundError: the owner has none with this id, or it was forgotten or superseded.
        """
        vectors: dict[str, Vector] = {}
        while True:
            with writer(owner):
                changed = _with_vector(change(self.current(owner, id)), vectors)
                if changed.vector is not None or vectors:
                    return self.write(owner, [changed])[0]
            self.check_record(owner, changed)
            vectors = self._embedded([changed.preference.text])

    def check_record(self, owner: str, record: StoredPreference) -> None:
        """Raise InvalidPreferenceError if this record alone may not be written."""
        self.limits.check_weight(record.preference.weight)
        if record.preference.locked and not Layer.is_key(owner):
            msg = "locked: Expected only preferences of a shared layer to be locked, got a user's; see shared(name)."
            raise InvalidPreferenceError(msg)

    def check_imported(self, owner: str, record: StoredPreference) -> None:
        """Raise InvalidPreferenceError if this record may not be written, or what its history says was ever so."""
        self.check_record(owner, record)
        self.limits.check_metadata(record.preference.metadata)
        for version in versions(record):
            self.check_record(owner, replace(record, preference=version))

    def check_total(self, owner: str, written: Sequence[StoredPreference], known: Sequence[StoredPreference]) -> None:
        """Raise InvalidPreferenceError if one may not be written, or all together are too many or too heavy."""
        for record in written:
            self.check_record(owner, record)
        after = {record.preference.id: record for record in (*known, *written)}
        self.limits.check_total([record.preference for record in after.values()])

    def write(
        self, owner: str, records: Sequence[StoredPreference], places: Places | None = None
    ) -> list[StoredPreference]:
        """Embed what has no vector, then write in as few operations as Chroma takes; see `UserRecords.write`."""
        if not records:
            return []
        for record in records:
            self.check_record(owner, record)
        bare = {record.preference.text for record in records if record.vector is None}
        vectors = self._embedded(bare)
        complete = [
            replace(_with_vector(record, vectors), is_archived=record.preference.is_archived) for record in records
        ]
        size = self.shards.max_batch_size()
        for start in range(0, len(complete), size):
            self.records.write(owner, complete[start : start + size], places)
        return complete

    def existing(self, owner: str, id: str) -> StoredPreference:
        """The record of this id in whatever state, or PreferenceNotFoundError."""
        found = existing(filter(None, [self.records.find(owner, id) if isinstance(id, str) else None]), id)
        by = [self.records.find(owner, each) for each in found.preference.links]
        return settled([found, *filter(None, by)])[0]

    def current(self, owner: str, id: str) -> StoredPreference:
        """One that may be changed: neither forgotten nor superseded."""
        return current([self.existing(owner, id)], id)

    def read(
        self, owner: str, *, vectors: bool = False, archived: bool = False, history: bool = True
    ) -> list[StoredPreference]:
        """The owner's records as they were added, with what has their place taken into account.

        Without the archive it is what applies now or later; that is read too if what has the place of one lies there.
        """
        records = self.records.read(owner, vectors=vectors, archived=archived, history=history)
        links = {id for record in records for id in record.preference.links}
        if not archived and links and not links <= {record.preference.id for record in records}:
            records = settled(self.records.read(owner, vectors=vectors, archived=True, history=history))
            return [record for record in records if not record.preference.is_archived]
        return settled(records)

    def active(
        self,
        owner: str,
        *,
        scope: Scope | None = None,
        vectors: bool = False,
        history: bool = False,
        as_of: datetime | None = None,
    ) -> list[StoredPreference]:
        """What applies now, or applied at a time, of a scope if one is given, in no order."""
        if scope not in (None, *get_args(Scope)):
            msg = f"Expected scope to be one of {', '.join(get_args(Scope))}, got {scope!r}."
            raise ConfigurationError(msg)
        if as_of is None:
            now = utc_now()
            records = self.read(owner, vectors=vectors, history=history)
            found = [record for record in records if record.preference.is_active(now)]
        else:
            found = self._active_at(owner, as_of, vectors)
        return [record for record in found if scope in (None, record.preference.scope)]

    def archived(self, owner: str) -> list[StoredPreference]:
        """What is superseded, expired, forgotten or rejected."""
        records = self.read(owner, archived=True, history=False)
        return [record for record in records if record.preference.state not in ("active", "pending")]

    def embed(self, texts: Sequence[str]) -> Vector:
        """Embed [n] texts as [n, dimension], which fit the store."""
        vectors = self.vectorizer.documents(texts)
        self.shards.check_dimension(vectors.shape[1])
        return vectors

    def _active_at(self, owner: str, at: datetime, vectors: bool) -> list[StoredPreference]:
        """What was active at a time; wordings that were changed since are embedded again."""
        if not isinstance(at, datetime) or at.tzinfo is None:
            msg = f"Expected as_of to be a datetime with a time zone, got {at!r}; add tzinfo=timezone.utc, say."
            raise ConfigurationError(msg)
        now = {record.preference.id: record for record in self.read(owner, vectors=vectors, archived=True)}
        dated = [(record, version_at(record, at)) for record in now.values()]
        then = settled([replace(record, preference=version) for record, version in dated if version is not None])
        active = [record for record in then if record.preference.is_active(at)]
        changed = {r.preference.text for r in active if r.preference.text != now[r.preference.id].preference.text}
        embedded = self._embedded(changed) if vectors else {}
        return [replace(each, vector=embedded.get(each.preference.text, each.vector)) for each in active]

    def _embedded(self, texts: Iterable[str]) -> dict[str, Vector]:
        wanted = [*texts]
        return dict(zip(wanted, self.embed(wanted), strict=True)) if wanted else {}


def existing(records: Iterable[StoredPreference], id: str) -> StoredPreference:
    """The one of this id, or PreferenceNotFoundError."""
    for record in records:
        if record.preference.id == id:
            return record
    msg = "Expected the id of one of this user's preferences, got an unknown one; see list(user)."
    raise PreferenceNotFoundError(msg)


def current(records: Iterable[StoredPreference], id: str) -> StoredPreference:
    """The one of this id, or PreferenceNotFoundError if it was forgotten, superseded for good or not approved."""
    record = existing(records, id)
    if record.preference.is_archived:
        state = record.preference.state
        cure = "approve it first" if state == "pending" else "undo(user, id) brings it back"
        msg = f"Expected a preference that applies, got one that is {state}; {cure}."
        raise PreferenceNotFoundError(msg)
    return record


def _moved(known: Sequence[StoredPreference], written: Sequence[StoredPreference]) -> list[StoredPreference]:
    """What is written, as it is among all others, and what by it goes to the archive or comes from there."""
    changed = {record.preference.id for record in written}
    after = settled([*written, *(record for record in known if record.preference.id not in changed)])
    rest = after[len(written) :]
    return [*after[: len(written)], *(each for each in rest if each.is_archived != each.preference.is_archived)]


def _with_vector(record: StoredPreference, vectors: dict[str, Vector]) -> StoredPreference:
    if record.vector is None and record.preference.text in vectors:
        return replace(record, vector=vectors[record.preference.text])
    return record
