"""Claims: how several processes write for one user and overwrite nothing.

A new preference first claims its slot: Chroma adds a record under an id once, so that of two who take the same slot one
gets it. A claim is nobody's record. One whose process was killed stays free for the same preference, is erased with its
user, and goes with the next rebuild.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from la_agents.errors import StoreUnavailableError
from la_agents.preferences.record import StoredPreference, Vector
from la_agents.preferences.storage.records import claim_of, metadata_of, preference_id_of, record_id, slot_of
from la_agents.preferences.storage.slots import Places, windows
from la_agents.preferences.storage.walking import walk

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

__all__ = ["are_ours", "catch_up", "claim", "is_reachable", "put", "tries"]

_TRIES = 50


def catch_up(shard: Collection, user: str, places: Places) -> None:
    """Note what lies in the slots from `places.end` on, claims included."""
    places.begin(shard.id)
    for page in walk(shard, user, None, ["metadatas"], start=places.end):
        metadatas: Sequence[Mapping[str, Any] | None] = page["metadatas"] or []
        found = {slot_of(id): metadata or {} for id, metadata in zip(page["ids"], metadatas, strict=True)}
        for slot in sorted(slot for slot in found if slot is not None):
            places.note(slot, preference_id_of(found[slot]))


def claim(shard: Collection, user: str, records: Sequence[StoredPreference], vectors: Vector, places: Places) -> None:
    """Make sure that the slots of new preferences are nobody else's: what Chroma adds under a taken id, it drops."""
    rows = {record.preference.id: row for row, record in enumerate(records)}
    for _ in tries():
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


def are_ours(shard: Collection, user: str, records: Sequence[StoredPreference], places: Places) -> bool:
    """Whether the slots still hold these preferences; after an erasure, others may have taken them."""
    slots = {record_id(user, places.slots[record.preference.id]): record.preference.id for record in records}
    page = shard.get(ids=[*slots], include=["metadatas"])
    there = {id: metadata or {} for id, metadata in zip(page["ids"], page["metadatas"] or [], strict=True)}
    if all(id in there and preference_id_of(there[id]) == slots[id] for id in slots):
        return True
    places.forget()
    return False


def put(shard: Collection, user: str, records: Sequence[StoredPreference], vectors: Vector, places: Places) -> None:
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


def is_reachable(
    shard: Collection, user: str, records: Sequence[StoredPreference], vectors: Vector, places: Places
) -> bool:
    """Whether readers reach what was written; if not, since the user was erased meanwhile, it is taken back."""
    slots = [places.slots[record.preference.id] for record in records]
    ends = [window[-1] for window in itertools.takewhile(lambda window: window[-1] < max(slots), windows())]
    if not ends or len(shard.get(ids=[record_id(user, slot) for slot in ends], include=[])["ids"]) == len(ends):
        return True
    # As claims, because others may have gone on behind these slots.
    shard.update(
        ids=[record_id(user, slot) for slot in slots],
        embeddings=vectors,
        documents=[""] * len(slots),
        metadatas=[
            dict.fromkeys(metadata_of(record, slot)) | claim_of(user, record.preference.id, slot)
            for record, slot in zip(records, slots, strict=True)
        ],
    )
    places.forget()
    return False


def tries() -> Iterator[None]:
    """Yield for each try, with random pauses that grow, so that competing writers get apart."""
    for number in range(_TRIES):
        yield
        time.sleep(random.uniform(0, min(0.002 * 2**number, 0.2)))
    msg = f"Expected to write for a user, got other processes in the way {_TRIES} times; try again."
    raise StoreUnavailableError(msg)
