"""Slots: what is written is come to, however many there are, and a store of the older format is brought along."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any

import chromadb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding
from typer.testing import CliRunner

from la_agents.cli import app
from la_agents.errors import StoreMismatchError
from la_agents.preferences.history import Operation
from la_agents.preferences.preference import Preference, utc_now
from la_agents.preferences.storage.layout import Settings
from la_agents.preferences.storage.records import metadata_of, user_digest
from la_agents.preferences.storage.slots import Places, ends_window, reachable, windows
from la_agents.preferences.store import PreferenceStore
from la_agents.preferences.writing import new_record

EMBEDDINGS = DeterministicFakeEmbedding(size=4)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path, embeddings=EMBEDDINGS) as store:
        yield store


def test_windows_follow_each_other_and_their_ends_are_known() -> None:
    some = [*islice(windows(), 12)]
    assert [slot for window in some for slot in window] == [*range(some[-1].stop)]
    assert [len(window) for window in some[:7]] == [32, 64, 128, 256, 512, 1_024, 1_024]
    assert [slot for slot in range(some[-1].stop) if ends_window(slot)] == [window[-1] for window in some]


@given(st.sets(st.integers(0, 120)), st.integers(0, 120))
def test_whatever_was_added_in_turn_is_reached_and_nothing_beyond_a_free_end_is(extra: set[int], number: int) -> None:
    added = set(range(number))
    assert reachable(added) == added
    found = reachable(added | extra)
    assert found <= added | extra
    assert all(end in added | extra for end in (31, 95) if any(slot > end for slot in found))


def test_of_two_slots_of_one_preference_the_first_counts_and_another_shard_is_learnt_anew() -> None:
    places = Places()
    places.begin("one")
    for slot, id in enumerate(["a", None, "a", "b"]):
        places.note(slot, id)
    assert (places.slots, places.end) == ({"a": 0, "b": 3}, 4)
    assert places.missing(["c", "a", "c", "d"]) == ["c", "d"]
    places.begin("one")
    assert places.end == 4
    places.begin("another")
    assert (places.slots, places.end) == ({}, 0)


@pytest.mark.parametrize("number", [31, 32, 33, 95, 96, 97, 500])
def test_every_one_of_many_is_listed_found_changed_and_erased(store: PreferenceStore, number: int) -> None:
    added = store.add_many("alice", [f"thing {n}" for n in range(number)], consolidate=False)
    one_more = store.add("alice", "one more", consolidate=False)
    assert store.list("alice") == [*added, one_more]
    assert store.get("alice", one_more.id) == one_more
    assert store.update("alice", added[-1].id, weight=2).weight == 2
    store.forget("alice", added[0].id)
    assert (store.count("alice"), [p.id for p in store.archive("alice")]) == (number, [added[0].id])
    assert store.verify().is_sound
    assert store.migrate(3) == number + 1
    assert (store.count("alice"), store.verify().is_sound) == (number, True)
    assert store.erase("alice") == number + 1
    assert store.add("alice", "again", consolidate=False) in store.list("alice")


def test_what_applies_is_found_behind_a_long_history(store: PreferenceStore) -> None:
    """The whole first windows are archived, their last slots included: a reader still goes on."""
    for preference in store.add_many("alice", [f"old {n}" for n in range(96)], consolidate=False):
        store.forget("alice", preference.id)
    kept = store.add_many("alice", ["I ski.", "I sail."], consolidate=False)
    assert store.list("alice") == kept
    assert store.search("alice", "I ski.", k=5)[0].preference == kept[0]
    assert len(store.archive("alice")) == 96


def test_an_import_of_several_batches_finds_its_own_slots_again(tmp_path: Path) -> None:
    lines = "".join(f'{{"id": "p{n}", "text": "thing {n}"}}\n' for n in range(2_100))
    with PreferenceStore(tmp_path, embeddings=EMBEDDINGS) as store:
        first = store.add("alice", "before", consolidate=False)
        assert store.import_("alice", io.StringIO(lines)) == 2_100
        again = lines.replace("thing 2099", "changed")
        assert store.import_("alice", io.StringIO(again)) == 2_100
        assert store.count("alice") == 2_101
        assert {store.get("alice", "p2099").text, store.get("alice", first.id).text} == {"changed", "before"}
        assert store.verify().is_sound


def raw_client(folder: Path) -> Any:
    return chromadb.PersistentClient(folder, settings=chromadb.Settings(anonymized_telemetry=False))


def write_format_1(folder: Path) -> list[Preference]:
    """A store as the first version wrote it: ids of preferences in the ids of records, and none in their metadata."""
    with PreferenceStore(folder, embeddings=EMBEDDINGS) as store:
        store.add("alice", "to have the collections", consolidate=False)
        identity = store._ledger.shards.settings().embeddings  # type: ignore[union-attr]
    settings, now = Settings(identity, 4, format=1), utc_now()
    client = raw_client(folder)
    root = "la-agents-preferences"
    client.get_collection(root).modify(metadata={**client.get_collection(root).metadata, "format": 1})
    written = []
    for user in ("alice", "bob"):
        collection = client.get_or_create_collection(settings.shard_name(root, settings.shard_of(user)))
        collection.delete(where={"user_id": user})
        for number in range(40):
            text = f"{user} likes thing {number}"
            preference = Preference(id=f"{number:016x}", user_id=user, text=text, created_at=now, updated_at=now)
            (vector,) = EMBEDDINGS.embed_documents([text])
            record = new_record(preference, vector, Operation(now))  # type: ignore[arg-type]
            metadata = {name: value for name, value in metadata_of(record, 0).items() if value is not None}
            metadata["preference"] = metadata["preference"].replace(f'"id": "{preference.id}", ', "")
            collection.add(
                ids=[f"{user_digest(user)}:{preference.id}"],
                embeddings=[vector],
                documents=[text],
                metadatas=[metadata],
            )
            written.append(preference)
    client.close()
    return written


def test_a_store_of_the_older_format_is_refused_with_the_cure_and_migrates_whole(tmp_path: Path) -> None:
    written = write_format_1(tmp_path)
    with PreferenceStore(tmp_path, embeddings=EMBEDDINGS) as store:
        for refused in (
            lambda: store.list("alice"),
            lambda: store.add("alice", "I ski."),
            store.stats,
            store.verify,
        ):
            with pytest.raises(StoreMismatchError, match="prefs migrate"):
                refused()
        assert store.migrate() == 80
        assert [*store.list("alice"), *store.list("bob")] == written
        assert store.verify().is_sound
        assert store.stats().num_shards == 128
    with PreferenceStore(tmp_path, embeddings=EMBEDDINGS) as store:
        assert store.count("bob") == 40


def test_migrate_without_a_number_keeps_the_shards(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path) as store:
        store.add("alice", "I ski.")
    result = CliRunner().invoke(app, ["--store", str(tmp_path), "prefs", "migrate"])
    assert (result.exit_code, "Wrote 1 preferences." in result.stderr) == (0, True)


def test_a_lost_sign_to_go_on_is_found_and_mended(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path, embeddings=EMBEDDINGS) as store:
        first, *_ = store.add_many("alice", [f"thing {n}" for n in range(40)], consolidate=False)
        for preference in store.list("alice")[:32]:
            store.forget("alice", preference.id)
        shard = store._ledger.shards.on("alice", lambda shard: shard)
        assert shard is not None
        end = f"{user_digest('alice')}:31"
        shard.update(ids=[end], metadatas=[{"continued_for": None}])  # type: ignore[dict-item]
        assert store.count("alice") == 0
        assert store.verify().misplaced == [end]
        assert store.verify(repair=True).repaired
        assert store.count("alice") == 8
        assert store.get("alice", first.id).state == "forgotten"


def test_a_reader_sees_one_moment_of_a_user_with_several_windows(tmp_path: Path) -> None:
    """What supersedes lies in another window than what it supersedes: never both, never neither."""
    with PreferenceStore(tmp_path) as store:
        store.add_many("alice", [f"thing {n}" for n in range(40)], consolidate=False)
        store.add("alice", "My favourite city is Paris.", consolidate=False)
        store.add_many("alice", [f"other {n}" for n in range(200)], consolidate=False)
        cities, done = ["Berlin", "Rome", "Oslo", "Lima", "Cairo", "Delhi"], Event()

        def favourites() -> set[int]:
            seen = set()
            while not done.is_set():
                seen.add(sum(p.text.startswith("My favourite city") for p in store.list("alice")))
            return seen

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(favourites) for _ in range(2)]
            try:
                for city in cities:
                    store.add("alice", f"My favourite city is {city}.")
            finally:
                done.set()
            assert [reader.result() for reader in readers] == [{1}, {1}]
