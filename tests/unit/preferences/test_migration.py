"""The store written anew, over other shards: every open store follows, and nothing is lost wherever it is cut off."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from la_agents.errors import ConfigurationError
from la_agents.preferences.store import PreferenceStore
from tests.unit.preferences.store_tools import cut_off_between_switch_and_drop, open_store


def test_shards_can_be_changed_and_every_open_store_follows(tmp_path: Path) -> None:
    with open_store(tmp_path) as store, open_store(tmp_path) as other:
        before = {user: store.add_many(user, [f"{user} {n}" for n in range(5)]) for user in ("a", "b", "ü 🦜", "d")}
        assert [other.list(user) for user in before] == list(before.values())
        for num_shards in (1, 7):
            assert store.migrate(num_shards) == 20
            assert store.stats().num_shards == num_shards
            for one in (store, other):
                assert [one.list(user) for user in before] == list(before.values())
        added = other.add("a", "afterwards")
        assert store.list("a") == [*before["a"], added]
        assert store.erase("b") == 5
        for bad in (0, 4_097):
            with pytest.raises(ConfigurationError, match="num_shards"):
                store.migrate(bad)


def test_another_store_beside_it_is_left_alone(tmp_path: Path) -> None:
    with (
        open_store(tmp_path) as store,
        PreferenceStore(
            tmp_path, name="la-agents-preferences-2", embeddings=DeterministicFakeEmbedding(size=8)
        ) as beside,
    ):
        store.add("alice", "I ski.")
        kept = beside.add("alice", "I sail.")
        store.migrate(2)
        store.purge()
        assert beside.list("alice") == [kept]


@pytest.mark.parametrize("name", ["p", "a b", "prefs-2024", "prefs.g1.0000", "-prefs", "x" * 401])
def test_names_that_chroma_or_shards_have_no_room_for_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="name to be 3 to 400"):
        PreferenceStore(tmp_path, name=name)


@pytest.mark.parametrize("was_open", [True, False])
def test_a_store_that_was_opened_before_a_migration_reads_writes_and_erases_after_it(
    tmp_path: Path, was_open: bool
) -> None:
    """What it knows of the store is out of date, whether or not it has the user's shard open."""
    with open_store(tmp_path) as store, open_store(tmp_path) as stale:
        kept = store.add("alice", "I ski.")
        assert stale.count("alice" if was_open else "somebody in another shard") == was_open
        store.migrate(4)
        assert stale.list("alice") == [kept]
        store.migrate(5)
        added = stale.add("alice", "I sail.")
        assert store.list("alice") == [kept, added]
        store.migrate(6)
        assert stale.erase("alice") == 2
        assert store.count("alice") == 0


@pytest.mark.parametrize("rewrite", ["migrate", "purge", "verify", "stats"])
def test_whole_store_operations_of_a_store_that_was_opened_before_a_migration(tmp_path: Path, rewrite: str) -> None:
    with open_store(tmp_path) as store, open_store(tmp_path) as stale:
        kept = store.add_many("alice", ["I ski.", "I sail."])
        stale.count("alice")
        store.migrate(4)
        result = getattr(stale, rewrite)()
        assert store.list("alice") == stale.list("alice") == kept
        assert 2 in (result, getattr(result, "num_kept", None), getattr(result, "num_records", None))
    with open_store(tmp_path) as store:
        assert store.list("alice") == kept


@pytest.mark.parametrize("num_done", [0, 1_000])  # before anything was written, and after the first page was
def test_a_rebuild_that_is_cut_off_changes_nothing_and_can_be_done_again(tmp_path: Path, num_done: int) -> None:
    with open_store(tmp_path) as store:
        kept = store.add_many("alice", [f"thing {n}" for n in range(1_001)], consolidate=False)  # two pages

        def stop(done: int, total: int) -> None:
            if done > num_done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.migrate(3, progress=stop)
        assert store.list("alice") == kept
        assert store.migrate(5) == 1_001
        assert store.list("alice") == kept
        assert store.verify().is_sound


def test_a_migration_that_is_cut_off_before_the_old_shards_go_loses_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path) as before, open_store(tmp_path) as migrating:
        for user in ("alice", "bob"):
            before.add(user, "I ski.")
        cut_off_between_switch_and_drop(migrating)
        sails = before.add("alice", "I sail.")
        assert sails in migrating.list("alice")
        assert before.erase("bob") == 1
        assert migrating.count("bob") == 0
        assert migrating.migrate() == 2
        assert sails in before.list("alice")
        with open_store(tmp_path) as fresh:
            assert (fresh.count("alice"), fresh.count("bob")) == (2, 0)


def test_readers_go_on_while_the_store_is_written_anew(tmp_path: Path) -> None:
    with open_store(tmp_path) as store, ThreadPoolExecutor(4) as pool:
        kept = {user: store.add_many(user, [f"{user} {n}" for n in range(3)]) for user in ("a", "b", "c", "d")}
        done = Event()

        def read(user: str) -> int:
            number = 0
            while not done.is_set():
                assert store.list(user) == kept[user]
                number += 1
            return number

        readers = [pool.submit(read, user) for user in kept]
        try:
            for num_shards in (1, 2, 3, 4):
                store.migrate(num_shards)
        finally:
            done.set()
        assert all(reader.result() > 0 for reader in readers)


def test_exports_and_figures_are_whole_while_the_store_is_written_anew(tmp_path: Path) -> None:
    with open_store(tmp_path) as store, ThreadPoolExecutor(2) as pool:
        store.add_many("alice", [f"thing {n}" for n in range(300)], consolidate=False)
        done = Event()

        def read() -> int:
            number = 0
            while not done.is_set():
                assert store.export("alice", io.StringIO()) == 300
                assert store.stats().num_records == 300
                number += 1
            return number

        reader = pool.submit(read)
        try:
            for num_shards in (1, 2, 3, 4):
                store.migrate(num_shards)
        finally:
            done.set()
        assert reader.result() > 0


def test_nothing_is_written_from_within_a_migration(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.add("alice", "I ski.")
        with pytest.raises(ConfigurationError, match="make it afterwards"):
            store.migrate(2, progress=lambda done, total: store.add("alice", "I sail.") and None)
        assert store.add("alice", "I sail.") in store.list("alice")
        assert store.migrate(2) == 2
