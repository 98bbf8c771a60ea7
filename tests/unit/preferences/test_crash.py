"""What was acknowledged survives a kill -9 at any moment, and nothing is half there."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from la_agents.preferences.store import PreferenceStore

USERS = ("user 0", "user 1")

WRITER = """
import io, json, random, sys
from langchain_core.embeddings import DeterministicFakeEmbedding
from la_agents.preferences.store import PreferenceStore

folder, seed = sys.argv[1:]
chance = random.Random(seed)
store = PreferenceStore(folder, embeddings=DeterministicFakeEmbedding(size=8))

def everything(user):
    file = io.StringIO()
    store.export(user, file)
    return {json.loads(line)["id"]: line for line in file.getvalue().splitlines()}

def say(**values):
    print(json.dumps(values), flush=True)

for n in range(100_000):
    user = chance.choice(["user 0", "user 1"])
    active = store.list(user)
    id = chance.choice(active).id if active else None
    text = f"{seed} {n}"
    acts = {
        "add": (1, lambda: store.add(user, text, consolidate=False)),
        "say again": (1, lambda: store.add(user, store.get(user, id).text if id else text)),
        "add many": (5, lambda: store.add_many(user, [f"{text} {i}" for i in range(5)], consolidate=False)),
        "update": (1, lambda: store.update(user, id, text=text)),
        "forget": (1, lambda: store.forget(user, id)),
        "undo": (1, lambda: store.undo(user, store.forget(user, id).id)),
        "erase": (len(everything(user)), lambda: store.erase(user)),
    }
    names = [*acts] if id else ["add", "add many"]
    name = chance.choices(names, [1 if name == "erase" else 10 for name in names])[0]
    changes, act = acts[name]
    say(begun=name, user=user, changes=changes)
    act()
    say(done=name, user=user, holds=everything(user))
"""


def everything(store: PreferenceStore, user: str) -> dict[str, str]:
    file = io.StringIO()
    store.export(user, file)
    return {json.loads(line)["id"]: line for line in file.getvalue().splitlines()}


def killed_after(seconds: float, folder: Path, seed: int) -> list[dict[str, object]]:
    """What a writer said until it was killed, so long after its first word; a last line that is cut off is left out."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, folder, str(seed)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    first = writer.stdout.readline()
    time.sleep(seconds)
    writer.kill()
    rest = writer.stdout.read()
    writer.wait()
    return [json.loads(line) for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]


@pytest.mark.parametrize("seed", range(2))
def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    holds: dict[str, dict[str, str]] = {user: {} for user in USERS}
    for round_ in range(4):
        said = killed_after(chance.uniform(0, 1.2), tmp_path, 10 * seed + round_)
        for each in said:
            if "done" in each:
                holds[each["user"]] = each["holds"]  # type: ignore[index, assignment]
        unfinished = said[-1] if said and "begun" in said[-1] else None
        with PreferenceStore(tmp_path, embeddings=DeterministicFakeEmbedding(size=8)) as store:
            for user in USERS:
                found, expected = everything(store, user), holds[user]
                changed = {id for id in {*found, *expected} if found.get(id) != expected.get(id)}
                # The operation that was under way is there whole or not at all, and nothing else is different.
                possible = {0, unfinished["changes"]} if unfinished and unfinished["user"] == user else {0}
                assert len(changed) in possible, (user, unfinished)
                active = store.list(user)
                assert len(store.search(user, "anything", k=100_000)) == len(active)
                holds[user] = found
            assert store.verify().is_sound
            after = store.add("user 0", f"afterwards {round_}", consolidate=False)
            assert after in store.list("user 0")
            holds["user 0"] = everything(store, "user 0")
