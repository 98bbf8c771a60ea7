"""The preference memory at scale, beside the plain way: `python -m benchmarks.memory [--size 1000000]`.

The plain way is one langchain-chroma collection with a metadata filter. Vectors are synthetic, random unit vectors of
the bundled model's length, because what is measured is the store; the embedding costs the same in both. Each way is
filled, then opened and searched in a fresh process, users in random order. When a process first visits a collection,
Chroma loads its index and replays its log: of ours the searches right after opening are counted apart, and of them
again those that were a shard's first.

Filling a million takes half an hour or more. With `--folder` what is filled stays, and later runs measure it without
filling again; `--fill` fills and stops, so that the measuring can wait for a quiet machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
from langchain_core.embeddings import Embeddings

DIMENSION = 384
PER_USER = 10
BATCH = 5_000


class Synthetic(Embeddings):
    """A random unit vector for each text, the same each time."""

    name = "synthetic"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return vectors_of(1, int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))[
            0
        ].tolist()


def vectors_of(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def user_of(number: int) -> str:
    return f"user-{number}@example.org"


def text_of(user: int, number: int) -> str:
    return f"I like thing {number} of kind {user % 997} in place {user}."


def fill_ours(folder: Path, num_users: int) -> None:
    """Write shard by shard, in large batches, what `add_many` would write user by user."""
    from la_agents.preferences.history import Operation
    from la_agents.preferences.preference import Preference, utc_now
    from la_agents.preferences.storage.records import metadata_of, record_id
    from la_agents.preferences.store import PreferenceStore
    from la_agents.preferences.writing import new_record

    with PreferenceStore(folder, embeddings=Synthetic()) as store:
        first = [text_of(0, number) for number in range(PER_USER)]
        store.add_many(user_of(0), first, consolidate=False)
        shards, now = store._ledger.shards, utc_now()
        settings = shards.settings()
        assert settings is not None
        by_shard: dict[int, list[int]] = defaultdict(list)
        for user in range(1, num_users):
            by_shard[settings.shard_of(user_of(user))].append(user)
        for shard, users in by_shard.items():
            collection = shards.collection(settings.shard_name(shards.name, shard))
            rows = [(user, number) for user in users for number in range(PER_USER)]
            for start in range(0, len(rows), BATCH):
                part = rows[start : start + BATCH]
                vectors = vectors_of(len(part), shard * 1_000_000 + start)
                records = [
                    new_record(
                        Preference(
                            id=f"{number:016x}",
                            user_id=user_of(user),
                            text=text_of(user, number),
                            created_at=now,
                            updated_at=now,
                        ),
                        vector,
                        Operation(now),
                    )
                    for (user, number), vector in zip(part, vectors, strict=True)
                ]
                collection.upsert(
                    ids=[record_id(user_of(user), number) for user, number in part],
                    embeddings=vectors,
                    documents=[r.preference.text for r in records],
                    metadatas=[
                        {key: value for key, value in metadata_of(record, number).items() if value is not None}
                        for record, (_, number) in zip(records, part, strict=True)
                    ],
                )


def open_plain(folder: Path):
    import chromadb
    from langchain_chroma import Chroma

    client = chromadb.PersistentClient(str(folder), settings=chromadb.Settings(anonymized_telemetry=False))
    return Chroma("plain", Synthetic(), client=client)


def fill_plain(folder: Path, num_users: int) -> None:
    collection = open_plain(folder)._collection
    rows = [(user, number) for user in range(num_users) for number in range(PER_USER)]
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        collection.add(
            ids=[f"{user}-{number}" for user, number in part],
            embeddings=vectors_of(len(part), start),
            documents=[text_of(*row) for row in part],
            metadatas=[{"user_id": user_of(user)} for user, _ in part],
        )


def timed(calls: Iterable[Callable[[], object]]) -> list[float]:
    seconds = []
    for call in calls:
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return seconds


def milliseconds(seconds: list[float], what: str = "search") -> dict[str, float]:
    return {f"{what} p{p} ms": round(float(np.percentile(seconds, p)) * 1e3, 2) for p in (50, 95, 99)}


def chosen_users(num_users: int, count: int, seed: int = 1) -> list[str]:
    return [user_of(number) for number in random.Random(seed).choices(range(num_users), k=count)]


def search_ours(folder: Path, num_users: int, num_searches: int) -> dict[str, float]:
    from la_agents.preferences.store import PreferenceStore

    started = time.perf_counter()
    store = PreferenceStore(folder, embeddings=Synthetic())
    assert store.count(user_of(0)) == PER_USER
    opened = time.perf_counter() - started
    retrieve = partial(store.retrieve, query="What do you recommend?", min_relevance=None)
    settings = store._ledger.shards.settings()
    assert settings is not None
    early, later = (chosen_users(num_users, num_searches, seed) for seed in (1, 2))
    shards = [settings.shard_of(user) for user in early]
    at_first = timed(partial(retrieve, user) for user in early)
    visits = [at_first[index] for index, shard in enumerate(shards) if shard not in shards[:index]]
    figures = {
        "open s": round(opened, 2),
        **milliseconds(timed(partial(retrieve, user) for user in later)),
        **milliseconds(at_first, "search after opening"),
        **milliseconds(visits, "first visit of a shard"),
    }
    run = secrets.token_hex(4)  # users of this run alone: the folder may be measured again
    new = [f"new-{run}-{number}@example.org" for number in range(100)]
    one = sum(timed(partial(store.add, user, text_of(0, 1)) for user in new))
    texts = [text_of(0, number) for number in range(2, 2 + PER_USER)]
    many = sum(timed(partial(store.add_many, user, texts) for user in new))
    store.close()
    return figures | {"add a second": round(100 / one), "add_many a second": round(100 * PER_USER / many)}


def search_plain(folder: Path, num_users: int, num_searches: int) -> dict[str, float]:
    started = time.perf_counter()
    store = open_plain(folder)
    assert len(store.get(where={"user_id": user_of(0)})["ids"]) == PER_USER
    opened = time.perf_counter() - started
    search = partial(store.similarity_search_with_score, "What do you recommend?", 5)
    search({"user_id": user_of(0)})  # opens the index
    warm = timed(partial(search, {"user_id": user}) for user in chosen_users(num_users, num_searches))
    return {"open s": round(opened, 2), **milliseconds(warm)}


WAYS = {"ours": (fill_ours, search_ours, 1_000), "plain": (fill_plain, search_plain, 30)}


def fill(way: str, size: int, folder: Path) -> dict[str, float]:
    """Fill the folder in a child process, unless it was filled with as much before; what the filling measured."""
    done = folder / "filled.json"
    if done.is_file():
        figures: dict[str, float] = json.loads(done.read_text())
        if figures["size"] != size:
            sys.exit(f"Expected {folder} to hold {size:,} preferences, got {figures['size']:,}; name another --folder.")
        return figures
    if folder.is_dir() and any(folder.iterdir()):
        sys.exit(f"Expected {folder} to be empty or filled, got one whose filling was interrupted; remove it.")
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    run(way, "fill", size, folder / "data")
    figures = {"size": size, "fill a second": round(size / (time.perf_counter() - started))}
    done.write_text(json.dumps(figures))
    return figures


def measure(way: str, size: int, folder: Path, searches: int | None) -> dict[str, float]:
    """Search in a child process what was filled."""
    figures = fill(way, size, folder)
    figures |= json.loads(run(way, "search", size, folder / "data", searches))
    figures["disk MB"] = round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6)
    return figures


def run(way: str, step: str, size: int, folder: Path, searches: int | None = None) -> str:
    command = [sys.executable, "-m", "benchmarks.memory", "--size", str(size), "--step", way, step, str(folder)]
    command += [] if searches is None else ["--searches", str(searches)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def do_step(way: str, step: str, folder: Path, size: int, searches: int | None) -> None:
    fill_folder, search, num_searches = WAYS[way]
    if step == "fill":
        fill_folder(folder, size // PER_USER)
        return
    figures = search(folder, size // PER_USER, searches or num_searches)
    figures["memory MB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
    print(json.dumps(figures))


def compare(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """How many times faster ours is, at each percentile."""
    if len(found) < 2:
        return {}
    return {
        f"p{p}": round(found["plain"][f"search p{p} ms"] / found["ours"][f"search p{p} ms"], 1) for p in (50, 95, 99)
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000, help="preferences, 10 a user (default: 100,000)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS])
    parser.add_argument("--folder", type=Path, help="keep what is filled here; default a temporary folder")
    parser.add_argument("--fill", action="store_true", help="fill --folder and stop")
    parser.add_argument("--searches", type=int, help="searches of each way; default 1,000 of ours, 30 of the plain")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.step:
        do_step(given.step[0], given.step[1], Path(given.step[2]), given.size, given.searches)
        return
    if given.fill and given.folder is None:
        sys.exit("Expected --folder with --fill, got none; what is filled has to stay somewhere.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        if given.fill:
            for way in given.ways:
                print(way, json.dumps(fill(way, given.size, folder / way)), flush=True)
            return
        found = {way: measure(way, given.size, folder / way, given.searches) for way in given.ways}
    report = {"preferences": given.size, "users": given.size // PER_USER, **found, "times faster": compare(found)}
    if given.json:
        print(json.dumps(report))
        return
    for name, value in report.items():
        print(f"{name}: {json.dumps(value)}")


if __name__ == "__main__":
    main()
