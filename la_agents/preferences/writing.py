"""Writing: how a user's preferences come, change and go; part of `PreferenceStore`."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, Literal

from la_agents.errors import ConfigurationError, InvalidPreferenceError
from la_agents.preferences.aio import async_twin
from la_agents.preferences.consolidation.plan import Consolidator, consolidated, new_record
from la_agents.preferences.consolidation.races import settled
from la_agents.preferences.layers import owner_of
from la_agents.preferences.ledger import Ledger
from la_agents.preferences.lifecycle import (
    following,
    forgotten,
    last_undoable,
    reinstated,
    replaced_by,
    undone,
    updated,
)
from la_agents.preferences.preference import Preference, PreferenceDraft, Scope, Source, as_draft, utc_now
from la_agents.preferences.storage.records import StoredPreference
from la_agents.preferences.storage.writers import writer

__all__ = ["Writing"]

Preferences = list[Preference]


class _Unset(Enum):
    UNSET = 0


UNSET: Final = _Unset.UNSET
Unset = Literal[_Unset.UNSET]

_DRAFT_FIELDS = set(PreferenceDraft.model_fields)


class Writing:
    """The operations that change what a user has; see `PreferenceStore`."""

    _ledger: Ledger
    _consolidator: Consolidator

    def add(
        self,
        user: object,
        text: str,
        *,
        scope: Scope = "relevant",
        weight: float = 1.0,
        expires_at: datetime | None = None,
        source: Source = "explicit",
        confidence: float = 1.0,
        half_life_days: float | None = None,
        metadata: Mapping[str, Any] | None = None,
        consolidate: bool = True,
    ) -> Preference:
        """Store one preference and return it as it is known now; when this returns, it outlives the process.

        With `consolidate`, what was said before is not stored twice: the one that is known is refreshed, or merged
        with the new wording, and returned. What it contradicts is superseded; see `history` and `undo`. A preference
        that is only inferred supersedes nothing that was said, and is kept as superseded itself.

        Raises:
            InvalidPreferenceError: a value is out of its limits, or the user has too many.
        """
        draft = {
            "text": text,
            "scope": scope,
            "weight": weight,
            "expires_at": expires_at,
            "source": source,
            "confidence": confidence,
            "half_life_days": half_life_days,
            "metadata": {} if metadata is None else metadata,
        }
        return self._add(owner_of(user), [as_draft(draft)], consolidate)[0]

    def add_many(
        self,
        user: object,
        items: Iterable[str | Mapping[str, Any] | PreferenceDraft],
        *,
        consolidate: bool = True,
    ) -> Preferences:
        """Store several, embedded in one batch: all of them or, on error, none.

        Args:
            user: Whose they are.
            items: Bare texts, mappings of `add`'s arguments, or drafts.
            consolidate: As in `add`, one after the other.

        Returns:
            For each item the preference as which it is known now; one that says the same as another is that one.

        Raises:
            InvalidPreferenceError: an item is not valid (the message gives its position, from 0), or there are more
            than
                Chroma writes at once (5,461 embedded).
        """
        user = owner_of(user)
        if isinstance(items, (str, Mapping)) or not isinstance(items, Iterable):
            msg = f"Expected a list of preferences, got {type(items).__name__}; wrap a single one in a list."
            raise InvalidPreferenceError(msg)
        drafts = [as_draft(item, f"item {index}: ") for index, item in enumerate(items)]
        return self._add(user, drafts, consolidate) if drafts else []

    def update(
        self,
        user: object,
        id: str,
        *,
        text: str | Unset = UNSET,
        scope: Scope | Unset = UNSET,
        weight: float | Unset = UNSET,
        expires_at: datetime | Unset | None = UNSET,
        source: Source | Unset = UNSET,
        confidence: float | Unset = UNSET,
        half_life_days: float | Unset | None = UNSET,
        locked: bool | Unset = UNSET,
        metadata: Mapping[str, Any] | Unset = UNSET,
    ) -> Preference:
        """Change what is given, keep the rest, and return the preference as it is now.

        Nothing is consolidated: what the new words contradict stays. Only a shared layer's can be locked.

        Raises:
            PreferenceNotFoundError: this user has none with this id, or it was forgotten or superseded.
            InvalidPreferenceError: a new value is out of its limits, or the user's weights together are.
            ConfigurationError: nothing to change is given.
        """
        user = owner_of(user)
        given = {
            "text": text,
            "scope": scope,
            "weight": weight,
            "expires_at": expires_at,
            "source": source,
            "confidence": confidence,
            "half_life_days": half_life_days,
            "locked": locked,
            "metadata": metadata,
        }
        changes = {field: value for field, value in given.items() if value is not UNSET}
        if not changes:
            msg = f"Expected at least one of {', '.join(given)} to change, got none."
            raise ConfigurationError(msg)
        with writer(user):
            changed = updated(self._ledger.current(user, id), changes, utc_now())
            written = [changed]
            if "weight" in changes or "expires_at" in changes:
                known = self._ledger.records.read(user, vectors=True, archived=True)
                written += following([changed], known, utc_now())
                self._ledger.check_total(user, written, known)
            self._ledger.write(user, written)
        return changed.preference

    def forget(self, user: object, id: str) -> Preference:
        """Let one preference apply no more and return what it was; `undo` brings it back, `erase` leaves nothing.

        Raises:
            PreferenceNotFoundError: this user has none with this id, or it was forgotten or superseded.
        """
        user = owner_of(user)
        with writer(user):
            record = self._ledger.current(user, id)
            self._ledger.write(user, [forgotten(record, utc_now())])
        return record.preference

    def undo(self, user: object, id: str) -> Preferences:
        """Take back the latest change of a preference that still stands, and return what is different now.

        What was superseded, forgotten or changed is as it was before. A consolidation is undone as if it had not been
        asked for: what was merged into another preference becomes one of its own. Given the id of a preference that
        superseded others, these come back. Again, it takes back the change before.

        Raises:
            PreferenceNotFoundError: this user has none with this id.
            ConfigurationError: there is nothing to undo.
            InvalidPreferenceError: what comes back is more than the user may have.
        """
        user = owner_of(user)
        with writer(user):
            known = self._ledger.records.read(user, vectors=True, archived=True)
            restored = self._undone(user, self._ledger.existing(user, id), known)
            restored += following(restored, known, utc_now())
            self._ledger.check_total(user, restored, known)
            self._ledger.write(user, restored)
        return [record.preference for record in restored]

    def erase(self, user: object) -> int:
        """Remove everything the user has, in whatever state, with its history, and return how many that were."""
        user = owner_of(user)
        with writer(user):
            return self._ledger.records.erase(user)

    aadd = async_twin(add)
    aadd_many = async_twin(add_many)
    aupdate = async_twin(update)
    aforget = async_twin(forget)
    aundo = async_twin(undo)
    aerase = async_twin(erase)

    def _add(self, user: str, drafts: Sequence[PreferenceDraft], consolidate: bool) -> Preferences:
        most = self._ledger.shards.max_batch_size()
        if len(drafts) > most:
            msg = f"Expected at most {most} preferences at once, got {len(drafts)}; add them in parts."
            raise InvalidPreferenceError(msg)
        vectors = self._ledger.vectorizer.documents([draft.text for draft in drafts])
        self._ledger.shards.check_dimension(vectors.shape[1])
        with writer(user):
            now = utc_now()
            times = [now + timedelta(microseconds=index) for index in range(len(drafts))]  # keeps their order
            new = [
                new_record(_stored(draft, user, at), vector)
                for draft, at, vector in zip(drafts, times, vectors, strict=True)
            ]
            known = self._ledger.records.read(user, vectors=True, archived=True)
            written, ids = new, [record.preference.id for record in new]
            if consolidate:
                standing = [record for record in known if record.preference.stands(now)]
                written, ids = consolidated(new, standing, self._consolidator)
                written += following(written, known, now)
            self._ledger.check_total(user, written, known)
            self._ledger.write(user, written)
            now_known = {record.preference.id: record.preference for record in written}
            if consolidate and self._ledger.shards.folder is None:  # a server's, where other processes write too
                now_known |= self._settle(user, ids)
        return [now_known[id] for id in ids]

    def _settle(self, user: str, ids: Sequence[str]) -> dict[str, Preference]:
        """Look again at what was added; what stands for it if another process added the same meanwhile, by id."""
        mended = settled(self._ledger.active(user, vectors=True, history=True), ids, utc_now())
        self._ledger.write(user, mended)
        stands = {record.preference.id: record.preference for record in mended}
        return {id: stands.get(each.superseded_by or "", each) for id, each in stands.items()}

    def _undone(self, user: str, record: StoredPreference, known: Sequence[StoredPreference]) -> list[StoredPreference]:
        """The records to write so that the latest change of this one is taken back."""
        now, id = utc_now(), record.preference.id
        index = last_undoable(record)
        if index is None:
            return _reinstated(known, id, now) or [undone(record, now)]  # the latter raises
        change = record.changes[index]
        restored = [undone(record, now)]
        before = last_undoable(restored[0])
        if before is not None and record.changes[before].at == change.at:
            restored = [undone(restored[0], now)]  # one operation made both, as an approval does
        if change.kind in ("refreshed", "merged"):
            restored += _reinstated(known, id, now, change.at)
        if change.kind == "merged" and change.said is not None:
            draft = PreferenceDraft(**{**_draft(record.preference), "text": change.said})
            restored.append(new_record(_stored(draft, user, now), self._ledger.vectorizer.documents([change.said])[0]))
        return restored


def _reinstated(
    known: Sequence[StoredPreference], by: str, at: datetime, since: datetime | None = None
) -> list[StoredPreference]:
    """What this preference has replaced, at that time or later, as if it had not."""
    return [reinstated(record, by, at) for record in known if replaced_by(record, by, since)]


def _stored(draft: PreferenceDraft, user: str, at: datetime) -> Preference:
    return Preference(id=secrets.token_hex(8), user_id=user, created_at=at, updated_at=at, **_draft(draft))


def _draft(preference: PreferenceDraft) -> dict[str, Any]:
    return preference.model_dump(include=_DRAFT_FIELDS)
