"""Ledger: reads and writes one owner's records for all operations on preferences.

Embedding and judging are slow, so they run while no lock is held: a change is computed from the stored records; if it
needs vectors or judgements that do not exist yet, these are made and the change is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
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
"""Returns the records to write, from all records of an owner. It may be called several times, so it has no effects."""

_MAX_LOOKS = 4
"""How often a change is computed; the last time under the lock altogether, since others may keep writing."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The records of all owners, one owner a call; an owner is the key that `owners.owner_of` returns.

    Attributes:
        erased_at: When this process erased an owner last, by the monotonic clock and a digest of the owner.
    """

    shards: Shards
    records: UserRecords
    vectorizer: Vectorizer
    limits: Limits
    erased_at: dict[str, float] = field(default_factory=dict)

    def edit(self, owner: str, change: Edit, judgements: Judgements | None = None) -> list[StoredPreference]:
        """Apply a change to the owner's records, with no other writer in between, and return the written records.

        `judgements` is what the change looks judgements up in; missing ones are asked for.
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
        """Apply a change to one current record and return it; the owner's other records are not read.

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
        """Raise InvalidPreferenceError if this record, or a version of it in its history, may not be written."""
        self.check_record(owner, record)
        self.limits.check_metadata(record.preference.metadata)
        for version in versions(record):
            self.check_record(owner, replace(record, preference=version))

    def check_total(self, owner: str, written: Sequence[StoredPreference], known: Sequence[StoredPreference]) -> None:
        """Raise InvalidPreferenceError if a record may not be written, or the owner would exceed the limits."""
        for record in written:
            self.check_record(owner, record)
        after = {record.preference.id: record for record in (*known, *written)}
        self.limits.check_total([record.preference for record in after.values()])

    def write(
        self, owner: str, records: Sequence[StoredPreference], places: Places | None = None
    ) -> list[StoredPreference]:
        """Embed records without a vector, and write all in batches of the size that Chroma takes."""
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
        """Return the record with this id, in any state, or raise PreferenceNotFoundError."""
        found = existing(filter(None, [self.records.find(owner, id) if isinstance(id, str) else None]), id)
        by = [self.records.find(owner, each) for each in found.preference.links]
        return settled([found, *filter(None, by)])[0]

    def current(self, owner: str, id: str) -> StoredPreference:
        """Return the record with this id if it can be changed; see the function `current`."""
        return current([self.existing(owner, id)], id)

    def read(
        self, owner: str, *, vectors: bool = False, archived: bool = False, history: bool = True
    ) -> list[StoredPreference]:
        """Return the owner's records in the order of their addition, with `superseded_until` derived.

        Without `archived`, only those that apply now or later. The archive is still read if what supersedes one of them
        is there: a temporary preference that was forgotten.
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
        """Return the active records, or those that were active at `as_of`, in no particular order."""
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
        """Return the superseded, expired, forgotten and rejected records."""
        records = self.read(owner, archived=True, history=False)
        return [record for record in records if record.preference.state not in ("active", "pending")]

    def embed(self, texts: Sequence[str]) -> Vector:
        """Embed [n] texts as [n, dimension], and check that the dimension is the store's."""
        vectors = self.vectorizer.documents(texts)
        self.shards.check_dimension(vectors.shape[1])
        return vectors

    def _active_at(self, owner: str, at: datetime, vectors: bool) -> list[StoredPreference]:
        """Return the records that were active at a time; texts that were changed since are embedded again."""
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
    """Return the record with this id, or raise PreferenceNotFoundError."""
    for record in records:
        if record.preference.id == id:
            return record
    msg = "Expected the id of one of this user's preferences, got an unknown one; see list(user)."
    raise PreferenceNotFoundError(msg)


def current(records: Iterable[StoredPreference], id: str) -> StoredPreference:
    """Return the record with this id, or raise PreferenceNotFoundError if it is archived."""
    record = existing(records, id)
    if record.preference.is_archived:
        state = record.preference.state
        cure = "approve it first" if state == "pending" else "undo(user, id) brings it back"
        msg = f"Expected a preference that applies, got one that is {state}; {cure}."
        raise PreferenceNotFoundError(msg)
    return record


def _moved(known: Sequence[StoredPreference], written: Sequence[StoredPreference]) -> list[StoredPreference]:
    """Return the written records with derived fields, and others that thereby enter or leave the archive."""
    changed = {record.preference.id for record in written}
    after = settled([*written, *(record for record in known if record.preference.id not in changed)])
    rest = after[len(written) :]
    return [*after[: len(written)], *(each for each in rest if each.is_archived != each.preference.is_archived)]


def _with_vector(record: StoredPreference, vectors: dict[str, Vector]) -> StoredPreference:
    if record.vector is None and record.preference.text in vectors:
        return replace(record, vector=vectors[record.preference.text])
    return record
