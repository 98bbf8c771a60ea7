"""Several processes on one Chroma server, and threads in each, on the same users: nothing acknowledged is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.embeddings import DeterministicFakeEmbedding

from la_agents.preferences.preference import Preference
from la_agents.preferences.record import StoredPreference
from la_agents.preferences.storage.slots import Places
from la_agents.preferences.storage.user_records import UserRecords
from la_agents.preferences.store import PreferenceStore

WORKER = """
import json, sys
import numpy.random  # two threads that are the first to ask numpy for it recurse without end
from concurrent.futures import ThreadPoolExecutor
from langchain_core.embeddings import DeterministicFakeEmbedding
from la_agents.preferences.store import PreferenceStore

url, process = sys.argv[1:]
store = PreferenceStore(url=url, name="hammered", embeddings=DeterministicFakeEmbedding(size=8))

def work(thread):
    kept, forgotten = [], []
    for n in range(4):
        user = f"user {n % 2}"
        kept += store.add_many(user, [f"{process}-{thread}-{n}", f"{process}-{thread}-{n} again"], consolidate=False)
        gone = store.add(user, f"{process}-{thread}-{n} gone", consolidate=False)
        store.forget(user, gone.id)
        forgotten.append((user, gone.id))
        changed = store.update(user, kept[-1].id, weight=2)
        kept[-1] = changed
        found = store.search(user, changed.text, k=1_000)
        assert {scored.preference.user_id for scored in found} == {user}
        assert changed in [scored.preference for scored in found]
    return [each.model_dump(mode="json") for each in kept], forgotten

with ThreadPoolExecutor(2) as pool:
    print(json.dumps(list(pool.map(work, range(2)))))
"""


def test_four_processes_with_threads_on_the_same_users(url: str) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, url, str(n)], stdout=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    results = [json.loads(worker.communicate()[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4
    done = [thread for process in results for thread in process]
    with PreferenceStore(url=url, name="hammered", embeddings=DeterministicFakeEmbedding(size=8)) as store:
        kept = {each["id"]: each for thread, _ in done for each in thread}
        assert len(kept) == 4 * 2 * 4 * 2
        for user in ("user 0", "user 1"):
            found = {each.id: each.model_dump(mode="json") for each in store.list(user)}
            assert found == {id: each for id, each in kept.items() if each["user_id"] == user}
        for user, id in (pair for _, gone in done for pair in gone):
            assert store.get(user, id).state == "forgotten"
        assert store.verify().is_sound
        assert store.stats().states == {"active": 64, "forgotten": 32}


class Interrupted(UserRecords):
    """Another process has its say between our reading and our writing, once."""

    def __init__(self, records: UserRecords, meanwhile: Callable[[], object]) -> None:
        super().__init__(records._shards)
        self._meanwhile = [meanwhile]

    def write(self, user: str, records: Sequence[StoredPreference], places: Places | None = None) -> None:
        while self._meanwhile:
            self._meanwhile.pop()()
        super().write(user, records, places)


def test_the_same_said_between_another_ones_reading_and_writing_is_stored_once(url: str) -> None:
    fake = DeterministicFakeEmbedding(size=8)
    with PreferenceStore(url=url, name="raced", embeddings=fake) as other:
        theirs: list[Preference] = []
        with PreferenceStore(url=url, name="raced", embeddings=fake) as store:
            records = Interrupted(store._ledger.records, lambda: theirs.append(other.add("alice", "I am vegetarian.")))
            store._ledger = replace(store._ledger, records=records)
            mine = store.add("alice", "I am vegetarian")
            (kept,) = store.list("alice")
            (lost,) = store.archive("alice")
        assert mine == kept
        assert kept.num_said == 2
        assert {kept.id, lost.id} >= {theirs[0].id}
        assert lost.superseded_by == kept.id
        assert other.history("alice", lost.id)[-1].why == "said to two processes at once"
        assert other.undo("alice", lost.id)[0].id == lost.id


SAYER = """
import sys, time
from langchain_core.embeddings import DeterministicFakeEmbedding
from la_agents.preferences.store import PreferenceStore

url = sys.argv[1]
store = PreferenceStore(url=url, name="said-twice", embeddings=DeterministicFakeEmbedding(size=8))
store.count("alice")
print("ready", flush=True)
sys.stdin.readline()
for n in range(5):
    store.add("alice", f"{chr(97 + n) * 4} {chr(110 + n) * 5}")
    store.add("alice", f"{chr(97 + n) * 4} {chr(110 + n) * 5}")
"""


def test_two_processes_that_are_told_the_same_leave_no_duplicates(url: str) -> None:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    sayers = [subprocess.Popen([sys.executable, "-c", SAYER, url], **pipes) for _ in range(2)]
    for sayer in sayers:
        assert sayer.stdout is not None
        assert sayer.stdout.readline() == "ready\n"
    for sayer in sayers:
        assert sayer.stdin is not None
        sayer.stdin.write("go\n")
        sayer.stdin.flush()
    assert [sayer.communicate() and sayer.returncode for sayer in sayers] == [0, 0]
    with PreferenceStore(url=url, name="said-twice", embeddings=DeterministicFakeEmbedding(size=8)) as store:
        texts = [each.text for each in store.list("alice")]
        assert sorted(texts) == sorted(f"{chr(97 + n) * 4} {chr(110 + n) * 5}" for n in range(5))
        assert store.verify().is_sound
