"""Several processes on one Chroma server, and threads in each, on the same users: nothing acknowledged is lost."""

from __future__ import annotations

import json
import subprocess
import sys

from langchain_core.embeddings import DeterministicFakeEmbedding

from la_agents.preferences.store import PreferenceStore
from tests.unit.test_preferences_server import url  # noqa: F401

WORKER = """
import json, sys
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


def test_four_processes_with_threads_on_the_same_users(url: str) -> None:  # noqa: F811
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
