"""Several processes that write for one user at once, step by step: each moment at which another comes between."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from la_agents.preferences.history import Operation
from la_agents.preferences.preference import Preference, utc_now
from la_agents.preferences.record import StoredPreference, Vector
from la_agents.preferences.storage.claims import are_ours, catch_up, claim, is_reachable, put
from la_agents.preferences.storage.records import record_id
from la_agents.preferences.storage.slots import Places
from la_agents.preferences.store import PreferenceStore
from la_agents.preferences.writing import new_record

USER = "alice"


@pytest.fixture
def store(url: str, request: pytest.FixtureRequest) -> Iterator[PreferenceStore]:
    name = f"claims-{abs(hash(request.node.name))}"
    with PreferenceStore(url=url, name=name, embeddings=DeterministicFakeEmbedding(size=4)) as store:
        yield store


def shard_of(store: PreferenceStore) -> Any:
    return store._ledger.shards.on(USER, lambda shard: shard, dimension=4)


def seen_by_us(store: PreferenceStore) -> Places:
    places = Places()
    catch_up(shard_of(store), USER, places)
    return places


def records(*texts: str) -> tuple[list[StoredPreference], Vector]:
    """New records whose ids are their texts."""
    now, vectors = utc_now(), np.ones((len(texts), 4), dtype=np.float32)
    made = [Preference(id=text, user_id=USER, text=text, created_at=now, updated_at=now) for text in texts]
    return [new_record(each, vector, Operation(now)) for each, vector in zip(made, vectors, strict=True)], vectors


def texts_of(store: PreferenceStore) -> list[str]:
    return sorted(each.text for each in store.list(USER))


def test_slots_that_others_took_meanwhile_are_left_to_them(store: PreferenceStore) -> None:
    places = seen_by_us(store)
    store.add_many(USER, ["theirs 1", "theirs 2", "theirs 3"], consolidate=False)
    ours, vectors = records("ours 1", "ours 2")
    claim(shard_of(store), USER, ours, vectors, places)
    assert texts_of(store) == ["theirs 1", "theirs 2", "theirs 3"]  # a claim is nobody's record
    put(shard_of(store), USER, ours, vectors, places)
    assert texts_of(store) == ["ours 1", "ours 2", "theirs 1", "theirs 2", "theirs 3"]
    assert is_reachable(shard_of(store), USER, ours, vectors, places)
    assert store.verify().is_sound


def test_one_preference_that_two_write_lies_in_one_slot(store: PreferenceStore) -> None:
    one, other = seen_by_us(store), seen_by_us(store)
    first, first_vectors = records("both", "first's own")
    second, second_vectors = records("second's own", "both")
    claim(shard_of(store), USER, first, first_vectors, one)
    claim(shard_of(store), USER, second, second_vectors, other)
    assert one.slots["both"] == other.slots["both"] == 0
    put(shard_of(store), USER, second, second_vectors, other)
    put(shard_of(store), USER, first, first_vectors, one)
    assert texts_of(store) == ["both", "first's own", "second's own"]
    assert store.erase(USER) == 3


@pytest.mark.parametrize("known", [0, 31, 32, 40])
def test_what_is_written_while_the_user_is_erased_is_not_left_where_nobody_comes_to(
    store: PreferenceStore, known: int
) -> None:
    store.add_many(USER, [f"gone {n}" for n in range(known)], consolidate=False)
    places = seen_by_us(store)
    ours, vectors = records("ours")
    claim(shard_of(store), USER, ours, vectors, places)
    assert store.erase(USER) == known
    put(shard_of(store), USER, ours, vectors, places)
    does_stand = is_reachable(shard_of(store), USER, ours, vectors, places)
    assert does_stand == (known < 32)
    if not does_stand:
        store._ledger.records.write(USER, ours, places)
    assert texts_of(store) == ["ours"]
    assert store.verify().is_sound
    store.add_many(USER, [f"new {n}" for n in range(50)], consolidate=False)
    assert store.count(USER) == 51


def test_a_claim_that_was_never_used_does_no_harm(store: PreferenceStore) -> None:
    """Its writer was killed: what lies there is counted nowhere, passed over by others, and erased with the user."""
    places = seen_by_us(store)
    lost, vectors = records("never written")
    claim(shard_of(store), USER, lost, vectors, places)
    assert (store.list(USER), store.archive(USER), store.stats().states) == ([], [], {})
    assert store.verify().is_sound
    store.add_many(USER, [f"kept {n}" for n in range(40)], consolidate=False)
    assert store.count(USER) == 40
    again, vectors = records("never written")
    store._ledger.records.write(USER, again)
    assert (store.count(USER), seen_by_us(store).slots["never written"]) == (41, 0)
    shard = shard_of(store)
    claim(shard, USER, *records("claimed only"), seen_by_us(store))
    assert store.erase(USER) == 41
    assert shard.get(ids=[record_id(USER, slot) for slot in range(100)])["ids"] == []


def test_slots_that_an_erasure_freed_and_others_took_are_not_overwritten(store: PreferenceStore) -> None:
    store.add(USER, "known to us", consolidate=False)
    places = seen_by_us(store)
    ours, vectors = records("ours")
    claim(shard_of(store), USER, ours, vectors, places)
    assert are_ours(shard_of(store), USER, ours, places)
    store.erase(USER)
    assert not are_ours(shard_of(store), USER, ours, places)
    catch_up(shard_of(store), USER, places)
    claim(shard_of(store), USER, ours, vectors, places)
    store.erase(USER)
    theirs = store.add_many(USER, ["theirs 1", "theirs 2"], consolidate=False)
    assert not are_ours(shard_of(store), USER, ours, places)
    store._ledger.records.write(USER, ours, places)
    assert texts_of(store) == sorted(["ours", *(each.text for each in theirs)])


def test_an_import_whose_user_is_erased_meanwhile_overwrites_nobody(store: PreferenceStore) -> None:
    lines = "".join(f'{{"id": "i{n}", "text": "imported {n}"}}\n' for n in range(2_000))
    theirs: list[Preference] = []

    def come_between(done: int, total: int) -> None:
        if done == 1_000:
            store.erase(USER)
            theirs.extend(store.add_many(USER, [f"theirs {n}" for n in range(1_200)], consolidate=False))

    store.import_(USER, io.StringIO(lines), progress=come_between)
    kept = {each.id for each in store.list(USER)}
    assert {each.id for each in theirs} <= kept
    assert len(kept) == 2_200
    assert store.verify().is_sound


def test_what_is_taken_back_stays_in_the_way_of_nobody(store: PreferenceStore) -> None:
    """Others may have gone on behind a slot that ends a window."""
    store.add_many(USER, [f"gone {n}" for n in range(95)], consolidate=False)
    places = seen_by_us(store)
    ours, vectors = records("ours")  # in slot 95, which ends the second window
    claim(shard_of(store), USER, ours, vectors, places)
    store.erase(USER)
    put(shard_of(store), USER, ours, vectors, places)
    shard = shard_of(store)
    assert not is_reachable(shard, USER, ours, vectors, places)
    (raw,) = shard.get(ids=[record_id(USER, 95)], include=["metadatas", "documents"])["documents"]
    assert raw == ""
    store.add_many(USER, [f"new {n}" for n in range(100)], consolidate=False)
    assert store.count(USER) == 100
    assert store.verify().is_sound
    assert store.erase(USER) == 100
