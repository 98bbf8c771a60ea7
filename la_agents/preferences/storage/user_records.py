"""One user's records in their shard: read by slot, written in one operation, erased."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from la_agents.errors import InvalidPreferenceError, StoreUnavailableError
from la_agents.preferences.record import StoredPreference
from la_agents.preferences.storage.claims import are_ours, catch_up, claim, is_reachable, put, tries
from la_agents.preferences.storage.records import (
    ARCHIVE_FIELD,
    CLAIM_FIELD,
    CONTINUED_FIELD,
    USER_FIELD,
    from_record,
    preference_id_of,
    record_id,
    slot_of,
    user_of,
)
from la_agents.preferences.storage.slots import KnownSlots, Places
from la_agents.preferences.storage.walking import at_once, next_page, walk

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection
    from chromadb.api.types import GetResult, Include, Where

    from la_agents.preferences.storage.shards import Shards

__all__ = ["UserRecords"]

_CONTENT: Include = ["documents", "metadatas"]


class UserRecords:
    """Reads and writes one user's records at a time; the caller lets one thread in to write.

    Every method raises what `Shards` does, and StoreUnavailableError for a damaged record.
    """

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._slots = KnownSlots()

    def read(
        self, user: str, *, vectors: bool = False, archived: bool = False, history: bool = True
    ) -> list[StoredPreference]:
        """Return the user's records in the order in which they were added.

        Args:
            user: Whose.
            vectors: Whether to read the embeddings.
            archived: Whether to return what was superseded or forgotten, too.
            history: Whether to read what happened to them.
        """
        where: Where | None = None if archived else {"$or": [{USER_FIELD: user}, {CONTINUED_FIELD: user}]}

        def act(shard: Collection) -> list[StoredPreference]:
            pages = at_once(shard, user, where, _CONTENT)
            records = [record for page in pages for record in _records(page, user, vectors, history, archived)]
            dimension = self._shards.dimension
            if vectors and any(record.vector is None or len(record.vector) != dimension for record in records):
                raise _damaged()
            return records

        return self._shards.on(user, act) or []

    def find(self, user: str, id: str) -> StoredPreference | None:
        """Return one preference, archived or not, with its vector and history; None if the user has none of this id."""

        def act(shard: Collection) -> StoredPreference | None:
            slot = self._slots.of(user, shard.id, [id]).get(id)
            found = None if slot is None else self._at(shard, user, id, slot)
            if found is None:  # not looked for yet, or it lies elsewhere by now
                places = Places()
                catch_up(shard, user, places)
                self._slots.note(user, shard.id, places.slots)
                found = self._at(shard, user, id, places.slots[id]) if id in places.slots else None
            return found

        return self._shards.on(user, act)

    def _at(self, shard: Collection, user: str, id: str, slot: int) -> StoredPreference | None:
        page = shard.get(ids=[record_id(user, slot)], include=_CONTENT)
        records = _records(page, user, vectors=True, history=True, archived=True, only=id)
        return records[0] if records else None

    def read_some(self, user: str, ids: Sequence[str], places: Places) -> list[StoredPreference]:
        """Return those of these preferences that the user has, archived or not.

        Args:
            user: Whose.
            ids: Preference ids, at most as many as Chroma writes at once.
            places: Where the user's preferences lie; looked up if it does not say yet.
        """

        def act(shard: Collection) -> list[StoredPreference]:
            catch_up(shard, user, places)
            wanted = [record_id(user, places.slots[id]) for id in ids if id in places.slots]
            page = shard.get(ids=wanted, include=_CONTENT) if wanted else None
            return [] if page is None else _records(page, user, vectors=True, history=True, archived=True)

        return self._shards.on(user, act) or []

    def pages(self, user: str) -> Iterator[list[StoredPreference]]:
        """Return all that the user has, archived or not, in pages, without vectors."""
        begun = self._shards.on(user, lambda shard: next_page(walk(shard, user, None, _CONTENT)))
        while begun is not None:
            page, rest = begun
            yield _records(page, user, vectors=False, history=True, archived=True)
            with self._shards.connection.errors():
                begun = next_page(rest)

    def count(self, user: str) -> int:
        """Return how many records the user has, archived or not; a writer's claims are counted, too."""
        return self._shards.on(user, lambda shard: sum(len(page["ids"]) for page in walk(shard, user, None, []))) or 0

    def write(self, user: str, records: Sequence[StoredPreference], places: Places | None = None) -> None:
        """Add or replace records, each with its vector: all of them or, on error, none (but for claims).

        Args:
            user: Whose.
            records: At most as many as Chroma writes at once.
            places: What is known of where the user's preferences lie, for a caller who writes more than once.
        """
        if any(record.preference.user_id != user for record in records):
            msg = "Expected records of one user to write, got another's too; nothing was written."
            raise InvalidPreferenceError(msg)
        vectors = np.stack([record.vector for record in records if record.vector is not None])
        ids = [record.preference.id for record in records]

        def act(shard: Collection) -> None:
            known = places
            if known is None:
                slots = self._slots.of(user, shard.id, ids)
                known = Places(slots, max(slots.values(), default=-1) + 1, shard.id)
                if len(slots) == len(ids) and are_ours(shard, user, records, known):
                    put(shard, user, records, vectors, known)
                    if is_reachable(shard, user, records, vectors, known):
                        return
                known.forget()
            for _ in tries():
                catch_up(shard, user, known)
                if self._shards.folder is None:  # a server's, where others write, too
                    claim(shard, user, records, vectors, known)
                    if not are_ours(shard, user, records, known):
                        continue
                put(shard, user, records, vectors, known)
                if is_reachable(shard, user, records, vectors, known):
                    if places is None:  # else the caller keeps them, who may write more than memory holds
                        self._slots.note(user, shard.id, {id: known.slots[id] for id in ids})
                    return

        self._shards.on(user, act, dimension=vectors.shape[1])

    def erase(self, user: str) -> int:
        """Remove whatever is the user's, wherever it lies, and return how many preferences that were.

        The last slot goes first: what is left by an erasure that is cut off is still found.
        """
        most = self._shards.max_batch_size()
        self._shards.settings()  # where the user is now, not where an older look found them
        self._slots.forget(user)
        number = self._shards.on(user, lambda shard: _erase(shard, user, most)) or 0
        settings = self._shards.settings()
        with self._shards.connection.errors():  # what a migration that was cut off has left
            for shard in self._shards.others(settings) if settings else ():
                _erase(shard, user, most)
        return number


def _erase(shard: Collection, user: str, most: int) -> int:
    own: Where = {"$or": [{USER_FIELD: user}, {ARCHIVE_FIELD: user}]}
    number = 0
    while True:  # until nobody adds any more
        found = shard.get(where=own, include=[])["ids"]
        claims = shard.get(where={CLAIM_FIELD: user}, include=[])["ids"]
        in_slots = (id for page in walk(shard, user, None, ["metadatas"]) for id in _nobody_elses(page, user))
        ids = sorted({*found, *claims, *in_slots}, key=lambda id: slot_of(id) or 0, reverse=True)
        if not ids:
            return number
        for start in range(0, len(ids), most):
            shard.delete(ids=ids[start : start + most])
        number += len(found)


def _nobody_elses(page: GetResult, user: str) -> Iterator[str]:
    """The user's records, and damaged ones, in the user's slots."""
    for id, metadata in zip(page["ids"], page["metadatas"] or [], strict=True):
        if user_of(metadata or {}) in (None, user):
            yield id


def _damaged() -> StoreUnavailableError:
    return StoreUnavailableError("Expected readable records, got a damaged one; run `la-agents prefs verify --repair`.")


def _records(
    page: GetResult, user: str, vectors: bool, history: bool, archived: bool, only: str | None = None
) -> list[StoredPreference]:
    """Read Chroma's columns, or one preference of them. What is anybody else's is dropped, whatever let it through."""
    ids, texts = page["ids"], page["documents"] or []
    metadatas = [metadata or {} for metadata in page["metadatas"] or []]
    try:
        return [
            from_record(record, text, metadata, vectors=vectors, history=history)
            for record, text, metadata in zip(ids, texts, metadatas, strict=True)
            if (user_of(metadata) if archived else metadata.get(USER_FIELD)) == user
            and (only is None or preference_id_of(metadata) == only)
        ]
    except (ValueError, KeyError, TypeError):  # JSON's and pydantic's errors are ValueErrors; they quote the content
        raise _damaged() from None
