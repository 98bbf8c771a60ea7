"""One user's records in their shard: read by slot, written in one operation, erased.

Where a server lets other processes write to the same user, a new preference first claims its slot: Chroma adds a record
under an id once, so that two who take the same slot do not overwrite each other. A claim is nobody's record; one whose
process was killed stays free for the same preference and goes with the next rebuild.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from la_agents.errors import StoreUnavailableError
from la_agents.preferences.records import (
    ARCHIVE_FIELD,
    CLAIM_FIELD,
    CONTINUED_FIELD,
    USER_FIELD,
    StoredPreference,
    Vector,
    claim_of,
    from_record,
    metadata_of,
    owner_of,
    preference_id_of,
    record_id,
    slot_of,
)
from la_agents.preferences.slots import Places, windows

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection
    from chromadb.api.types import GetResult, Include, Where

    from la_agents.preferences.shards import Shards

__all__ = ["UserRecords"]

_CONTENT: Include = ["documents", "metadatas"]
_TRIES = 50
_MAX_AT_ONCE = 20_000  # SQLite takes 32 thousand values in a query


class UserRecords:
    """Reads and writes one user's records at a time; the caller lets one thread in to write.

    Every method raises what `Shards` does, and StoreUnavailableError for a damaged record.
    """

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

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
            pages = _at_once(shard, user, where, _CONTENT)
            return [record for page in pages for record in _records(page, user, vectors, history, archived)]

        return self._shards.on(user, act) or []

    def find(self, user: str, id: str) -> StoredPreference | None:
        """Return one preference, archived or not, with its vector and history; None if the user has none of this id."""

        def act(shard: Collection) -> StoredPreference | None:
            for page in _walk(shard, user, None, _CONTENT):
                for record in _records(page, user, vectors=True, history=True, archived=True, only=id):
                    return record
            return None

        return self._shards.on(user, act)

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
        walk = self._shards.on(user, lambda shard: _next_page(_walk(shard, user, None, _CONTENT)))
        while walk is not None:
            page, rest = walk
            yield _records(page, user, vectors=False, history=True, archived=True)
            with self._shards.errors():
                walk = _next_page(rest)

    def count(self, user: str) -> int:
        """Return how many records the user has, archived or not; a writer's claims are counted, too."""
        return self._shards.on(user, lambda shard: sum(len(page["ids"]) for page in _walk(shard, user, None, []))) or 0

    def write(self, user: str, records: Sequence[StoredPreference], places: Places | None = None) -> None:
        """Add or replace records, each with its vector: all of them or, on error, none (but for claims).

        Args:
            user: Whose.
            records: At most as many as Chroma writes at once.
            places: What is known of where the user's preferences lie, for a caller who writes more than once.
        """
        vectors = np.stack([record.vector for record in records if record.vector is not None])
        known = Places() if places is None else places

        def act(shard: Collection) -> None:
            if self._shards.folder is not None:  # nobody else writes here
                catch_up(shard, user, known)
                _put(shard, user, records, vectors, known)
                return
            for _ in _tries():
                catch_up(shard, user, known)
                _claim(shard, user, records, vectors, known)
                if not _are_ours(shard, user, records, known):
                    continue
                _put(shard, user, records, vectors, known)
                if _stands(shard, user, records, vectors, known):
                    return

        self._shards.on(user, act, dimension=vectors.shape[1])

    def erase(self, user: str) -> int:
        """Remove whatever is the user's, wherever it lies, and return how many preferences that were.

        The last slot goes first: what is left by an erasure that is cut off is still found.
        """
        most = self._shards.max_batch_size()
        number = self._shards.on(user, lambda shard: _erase(shard, user, most)) or 0
        settings = self._shards.settings()
        with self._shards.errors():  # what a migration that was cut off has left
            for shard in self._shards.others(settings) if settings else ():
                _erase(shard, user, most)
        return number


def _erase(shard: Collection, user: str, most: int) -> int:
    own: Where = {"$or": [{USER_FIELD: user}, {ARCHIVE_FIELD: user}]}
    number = 0
    while True:  # until nobody adds any more
        found = shard.get(where=own, include=[])["ids"]
        claims = shard.get(where={CLAIM_FIELD: user}, include=[])["ids"]
        in_slots = (id for page in _walk(shard, user, None, []) for id in page["ids"])  # damaged ones, too
        ids = sorted({*found, *claims, *in_slots}, key=lambda id: slot_of(id) or 0, reverse=True)
        if not ids:
            return number
        for start in range(0, len(ids), most):
            shard.delete(ids=ids[start : start + most])
        number += len(found)


def catch_up(shard: Collection, user: str, places: Places) -> None:
    """Note what lies in the slots from `places.end` on, claims included."""
    places.begin(shard.id)
    for page in _walk(shard, user, None, ["metadatas"], start=places.end):
        metadatas: Sequence[Mapping[str, Any] | None] = page["metadatas"] or []
        found = {slot_of(id): metadata or {} for id, metadata in zip(page["ids"], metadatas, strict=True)}
        for slot in sorted(slot for slot in found if slot is not None):
            places.note(slot, preference_id_of(found[slot]))


def _claim(shard: Collection, user: str, records: Sequence[StoredPreference], vectors: Vector, places: Places) -> None:
    """Make sure that the slots of new preferences are nobody else's: what Chroma adds under a taken id, it drops."""
    rows = {record.preference.id: row for row, record in enumerate(records)}
    for _ in _tries():
        new = places.missing(rows)
        if not new:
            return
        slots = range(places.end, places.end + len(new))
        shard.add(
            ids=[record_id(user, slot) for slot in slots],
            embeddings=vectors[[rows[id] for id in new]],
            documents=[""] * len(new),
            metadatas=[claim_of(user, id, slot) for id, slot in zip(new, slots, strict=True)],
        )
        catch_up(shard, user, places)


def _put(shard: Collection, user: str, records: Sequence[StoredPreference], vectors: Vector, places: Places) -> None:
    """Write all, in one operation; what has no slot yet goes after the last."""
    for id in places.missing(record.preference.id for record in records):
        places.note(places.end, id)
    slots = [places.slots[record.preference.id] for record in records]
    shard.upsert(
        ids=[record_id(user, slot) for slot in slots],
        embeddings=vectors,
        documents=[record.preference.text for record in records],
        metadatas=[metadata_of(record, slot) for record, slot in zip(records, slots, strict=True)],
    )


def _are_ours(shard: Collection, user: str, records: Sequence[StoredPreference], places: Places) -> bool:
    """Whether the slots still hold these preferences; not if the user was erased, and others have them by now."""
    slots = {record_id(user, places.slots[record.preference.id]): record.preference.id for record in records}
    page = shard.get(ids=[*slots], include=["metadatas"])
    there = {id: metadata or {} for id, metadata in zip(page["ids"], page["metadatas"] or [], strict=True)}
    if all(id in there and preference_id_of(there[id]) == slots[id] for id in slots):
        return True
    places.forget()
    return False


def _stands(shard: Collection, user: str, records: Sequence[StoredPreference], vectors: Vector, places: Places) -> bool:
    """Whether what was written is where readers come to; if the user was erased meanwhile, it is taken back."""
    slots = [places.slots[record.preference.id] for record in records]
    ends = [window[-1] for window in itertools.takewhile(lambda window: window[-1] < max(slots), windows())]
    if not ends or len(shard.get(ids=[record_id(user, slot) for slot in ends], include=[])["ids"]) == len(ends):
        return True
    # As claims, because others may have gone on behind these slots.
    columns = [*zip(records, slots, strict=True)]
    shard.update(
        ids=[record_id(user, slot) for slot in slots],
        embeddings=vectors,
        documents=[""] * len(slots),
        metadatas=[
            dict.fromkeys(metadata_of(record, slot)) | claim_of(user, record.preference.id, slot)
            for record, slot in columns
        ],
    )
    places.forget()
    return False


def _tries() -> Iterator[None]:
    """So many times, with pauses that grow and differ between those who are in each other's way."""
    for number in range(_TRIES):
        yield
        time.sleep(random.uniform(0, min(0.002 * 2**number, 0.2)))
    msg = f"Expected to write for a user, got other processes in the way {_TRIES} times; try again."
    raise StoreUnavailableError(msg)


def _walk(shard: Collection, user: str, where: Where | None, include: Include, start: int = 0) -> Iterator[GetResult]:
    """The user's slots, a window at a time, up to the first that has room."""
    for window in windows():
        if window[-1] < start:
            continue
        slots = window[max(0, start - window[0]) :]
        page = shard.get(ids=[record_id(user, slot) for slot in slots], where=where, include=include)
        yield page
        if record_id(user, window[-1]) not in page["ids"]:
            return


def _at_once(shard: Collection, user: str, where: Where | None, include: Include) -> Iterator[GetResult]:
    """The user's slots as they are at one moment: in one query, unless they are very many."""
    first = next(_walk(shard, user, where, include))
    if record_id(user, next(windows())[-1]) not in first["ids"]:
        yield first
        return
    num_windows = sum(1 for _ in _walk(shard, user, None, []))
    for window in itertools.islice(windows(), num_windows - 1, None):
        if window.stop > _MAX_AT_ONCE:
            yield from _walk(shard, user, where, include)
            return
        page = shard.get(ids=[record_id(user, slot) for slot in range(window.stop)], where=where, include=include)
        if record_id(user, window[-1]) not in page["ids"]:
            yield page
            return


def _next_page(walk: Iterator[GetResult]) -> tuple[GetResult, Iterator[GetResult]] | None:
    page = next(walk, None)
    return None if page is None else (page, walk)


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
            if (owner_of(metadata) if archived else metadata.get(USER_FIELD)) == user
            and only in (None, preference_id_of(metadata))
        ]
    except (ValueError, KeyError, TypeError) as error:  # JSON's and pydantic's errors are ValueErrors
        msg = "Expected readable records, got a damaged one; run `la-agents prefs verify --repair`."
        raise StoreUnavailableError(msg) from error
