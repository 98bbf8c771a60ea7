"""Ledger: one user's records, read as what stands and written within the limits, with vectors where they are missing.

What the store's operations have in common; knows no public argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from la_agents.errors import ConfigurationError, InvalidPreferenceError, PreferenceNotFoundError
from la_agents.preferences.embedding.vectorizer import Vectorizer
from la_agents.preferences.layers import Layer
from la_agents.preferences.lifecycle import version_at, versions
from la_agents.preferences.limits import Limits
from la_agents.preferences.preference import Preference, utc_now
from la_agents.preferences.storage.records import StoredPreference
from la_agents.preferences.storage.shards import Shards
from la_agents.preferences.storage.slots import Places
from la_agents.preferences.storage.user_records import UserRecords
from la_agents.preferences.storage.writers import writer

__all__ = ["Ledger"]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Records of one user at a time, named in every call by the id under which they lie (`layers.owner_of`)."""

    shards: Shards
    vectorizer: Vectorizer
    limits: Limits

    @property
    def records(self) -> UserRecords:
        """Where the records are read and written."""
        return UserRecords(self.shards)

    def edit(
        self, user: str, change: Callable[[Sequence[StoredPreference]], Sequence[StoredPreference]]
    ) -> list[Preference]:
        """Write what a change makes of all that the user has, and return that; nobody else writes meanwhile."""
        with writer(user):
            known = self.records.read(user, vectors=True, archived=True)
            written = change(known)
            self.check_total(user, written, known)
            self.write(user, written)
        return [record.preference for record in written]

    def check_record(self, user: str, record: StoredPreference) -> None:
        """Raise InvalidPreferenceError if this record alone may not be written."""
        self.limits.check_weight(record.preference.weight)
        if record.preference.locked and not Layer.is_key(user):
            msg = "locked: Expected only preferences of a shared layer to be locked, got a user's; see shared(name)."
            raise InvalidPreferenceError(msg)

    def check_imported(self, user: str, record: StoredPreference) -> None:
        """Raise InvalidPreferenceError if this record may not be written, or what its history says was ever so."""
        self.check_record(user, record)
        for version in versions(record):
            self.check_record(user, replace(record, preference=version))

    def check_total(self, user: str, written: Sequence[StoredPreference], known: Sequence[StoredPreference]) -> None:
        """Raise InvalidPreferenceError if one may not be written, or all together are too many or too heavy."""
        for record in written:
            self.check_record(user, record)
        after = {record.preference.id: record for record in (*known, *written)}
        self.limits.check_total([*after.values()])

    def write(self, user: str, records: Sequence[StoredPreference], places: Places | None = None) -> None:
        """Embed what has no vector, then write in as few operations as Chroma takes; see `UserRecords.write`."""
        if not records:
            return
        for record in records:
            self.check_record(user, record)
        bare = [index for index, record in enumerate(records) if record.vector is None]
        complete = [*records]
        if bare:
            vectors = self.vectorizer.documents([records[index].preference.text for index in bare])
            for index, vector in zip(bare, vectors, strict=True):
                complete[index] = replace(records[index], vector=vector)
        size = self.shards.max_batch_size()
        for start in range(0, len(complete), size):
            self.records.write(user, complete[start : start + size], places)

    def existing(self, user: str, id: str) -> StoredPreference:
        """The record of this id in whatever state, or PreferenceNotFoundError."""
        if isinstance(id, str) and (found := self.records.find(user, id)):
            return found
        msg = "Expected the id of one of this user's preferences, got an unknown one; see list(user)."
        raise PreferenceNotFoundError(msg)

    def current(self, user: str, id: str) -> StoredPreference:
        """One that may be changed: neither forgotten nor superseded."""
        record = self.existing(user, id)
        if record.preference.is_archived:
            state = record.preference.state
            cure = "approve it first" if state == "pending" else "undo(user, id) brings it back"
            msg = f"Expected a preference that stands, got one that is {state}; {cure}."
            raise PreferenceNotFoundError(msg)
        return record

    def active(
        self, user: str, *, vectors: bool = False, history: bool = False, as_of: datetime | None = None
    ) -> Sequence[StoredPreference]:
        """What applies now, or applied at a time, in no order."""
        if as_of is not None:
            return self.active_at(user, as_of, vectors)
        now = utc_now()
        records = self.records.read(user, vectors=vectors, history=history)
        return [record for record in records if record.preference.is_active(now)]

    def active_at(self, user: str, at: datetime, vectors: bool) -> Sequence[StoredPreference]:
        """What was active at a time; wordings that were changed since are embedded again."""
        if not isinstance(at, datetime) or at.tzinfo is None:
            msg = f"Expected as_of to be a datetime with a time zone, got {at!r}; add tzinfo=timezone.utc, say."
            raise ConfigurationError(msg)
        then = []
        for record in self.records.read(user, vectors=vectors, archived=True):
            preference = version_at(record, at)
            if preference is not None and preference.is_active(at):
                same = preference.text == record.preference.text
                vector = record.vector if same or not vectors else self.vectorizer.documents([preference.text])[0]
                then.append(replace(record, preference=preference, vector=vector))
        return then
