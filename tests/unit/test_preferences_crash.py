"""What `add` returned survives a kill -9 in the middle of adds, and nothing is half there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from la_agents.preferences.store import PreferenceStore

ADDER = """
import sys
from langchain_core.embeddings import DeterministicFakeEmbedding
from la_agents.preferences.store import PreferenceStore

store = PreferenceStore(sys.argv[1], embeddings=DeterministicFakeEmbedding(size=8))
for n in range(100_000):
    one = store.add(f"user {n % 3}", f"single {n}", metadata={"n": n}, consolidate=False)
    print(one.model_dump_json(), flush=True)
    for each in store.add_many(f"user {n % 3}", [f"batch {n} item {i}" for i in range(10)], consolidate=False):
        print(each.model_dump_json(), flush=True)
"""


@pytest.mark.parametrize("num_acknowledged", [1, 40, 173])
def test_acknowledged_preferences_survive_a_kill(tmp_path: Path, num_acknowledged: int) -> None:
    adder = subprocess.Popen([sys.executable, "-c", ADDER, tmp_path], stdout=subprocess.PIPE, text=True)
    assert adder.stdout is not None
    lines = [adder.stdout.readline() for _ in range(num_acknowledged)]
    adder.kill()
    rest = adder.stdout.read()
    adder.wait()
    acknowledged = [json.loads(line) for line in (*lines, *rest.splitlines()) if line.endswith(("}", "}\n"))]
    with PreferenceStore(tmp_path, embeddings=DeterministicFakeEmbedding(size=8)) as store:
        for expected in acknowledged:
            found = store.get(expected["user_id"], expected["id"])
            assert json.loads(found.model_dump_json()) == expected
        for user in ("user 0", "user 1", "user 2"):
            kept = store.list(user)
            assert len(store.search(user, "single", k=100_000)) == len(kept)
            batches = [each.text.split()[1] for each in kept if each.text.startswith("batch")]
            assert {batches.count(batch) for batch in batches} <= {10}
        assert store.add("user 0", "afterwards", consolidate=False) in store.list("user 0")
        assert store.verify().is_sound
