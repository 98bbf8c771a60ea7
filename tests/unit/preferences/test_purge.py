"""After a purge no file has a byte of what was erased, and nothing is broken by it."""

from __future__ import annotations

import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Timer, main_thread

import chromadb
import pytest

from la_agents.errors import ConfigurationError
from la_agents.preferences.storage.locks import FolderGate
from la_agents.preferences.store import PreferenceStore
from tests.unit.preferences.store_tools import SECRET, files_with, open_store, run


@pytest.mark.parametrize("num_kept", [2, 99, 100, 250])  # Chroma writes an index to its files at every 100th record
def test_after_a_purge_no_file_has_a_byte_of_what_was_erased(tmp_path: Path, num_kept: int) -> None:
    with open_store(tmp_path) as store, open_store(tmp_path) as other:
        store.add_many("alice", [f"{SECRET} number {n}" for n in range(1_200)], consolidate=False)  # past Chroma's sync
        store.add("alice", "harmless", metadata={"note": SECRET})
        store.update("alice", store.add("alice", f"I like {SECRET}.").id, text="I like tea.")
        kept = other.add_many("bob", [f"I ski on {n}." for n in range(num_kept)], consolidate=False)
        assert store.erase("alice") == 1_202
        assert files_with(tmp_path, SECRET)
        receipt = store.purge()
        assert (receipt.num_kept, receipt.num_bytes_after < receipt.num_bytes_before) == (num_kept, True)
        assert receipt.num_gone > 0
        assert files_with(tmp_path, SECRET) == []
        assert (store.count("alice"), other.list("bob")) == (0, kept)
        assert other.search("bob", "I ski on 0.", k=1)[0].preference == kept[0]
        assert store.verify().is_sound
    assert files_with(tmp_path, SECRET) == []
    with open_store(tmp_path) as store:
        assert store.list("bob") == kept
        assert store.add("bob", "I climb.") in store.list("bob")


def test_purge_from_the_command_line_prints_a_receipt(tmp_path: Path) -> None:
    assert run(tmp_path, "add", f"I like {SECRET}.", "-u", "alice").exit_code == 0
    done = run(tmp_path, "erase", "-u", "alice", "--yes", "--purge")
    assert done.exit_code == 0, done.stderr
    assert "Erased 1 preferences of alice" in done.stderr
    assert "Purged: 0 preferences of others kept" in done.stderr
    assert files_with(tmp_path, SECRET) == []


def test_a_store_of_somebody_elses_client_is_not_purged(tmp_path: Path) -> None:
    client = chromadb.PersistentClient(tmp_path, settings=chromadb.Settings(anonymized_telemetry=False))
    with PreferenceStore(client=client) as store, pytest.raises(ConfigurationError, match="path="):
        store.purge()
    client.close()


def test_calls_wait_while_the_store_is_purged(tmp_path: Path) -> None:
    """Chroma's SQLite and Python's do not exclude each other within a process: together they destroy the file."""
    with open_store(tmp_path) as store, ThreadPoolExecutor(3) as pool:
        kept = {user: store.add_many(user, [f"{user} {n}" for n in range(40)], consolidate=False) for user in "abc"}
        done = Event()

        def use(user: str) -> int:
            number = 0
            while not done.is_set():
                assert store.list(user) == kept[user]
                store.add(f"{user} more", f"thing {number}", consolidate=False)
                number += 1
            return number

        users = [pool.submit(use, user) for user in kept]
        try:
            for _ in range(4):
                store.purge()
        finally:
            done.set()
        added = {user: each.result() for user, each in zip(kept, users, strict=True)}
        assert {user: store.count(f"{user} more") for user in kept} == added
        assert store.verify().is_sound
    with sqlite3.connect(tmp_path / "chroma.sqlite3") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to a thread")
def test_an_interrupted_wait_leaves_the_gate_open() -> None:
    gate, inside, leave = FolderGate(), Event(), Event()

    def stay() -> None:
        with gate.shared():
            inside.set()
            assert leave.wait(30)

    with ThreadPoolExecutor(2) as pool:
        staying = pool.submit(stay)
        assert inside.wait(30)
        before = signal.signal(signal.SIGUSR1, signal.default_int_handler)  # SIGINT itself may be ignored, as by nohup
        try:
            Timer(0.3, signal.pthread_kill, [main_thread().ident, signal.SIGUSR1]).start()
            with pytest.raises(KeyboardInterrupt), gate.alone():
                pass
        finally:
            signal.signal(signal.SIGUSR1, before)
            leave.set()
        pool.submit(stay).result(timeout=30)
        staying.result(timeout=30)
