"""What tests of the store share: a store of small vectors, its files, its command, and an interrupted migration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.embeddings import DeterministicFakeEmbedding
from typer.testing import CliRunner, Result

from la_agents.cli import app
from la_agents.preferences.store import PreferenceStore

__all__ = ["SECRET", "cut_off_between_switch_and_drop", "files_with", "open_store", "run"]

SECRET = "xyzzyplugh"
"""A word that nothing else writes to disk."""


def open_store(folder: Path) -> PreferenceStore:
    return PreferenceStore(folder, embeddings=DeterministicFakeEmbedding(size=8))


def files_with(folder: Path, text: str) -> list[str]:
    found = [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
    return [str(path.relative_to(folder)) for path in found]


def run(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--store", str(store), "prefs", *arguments])


def cut_off_between_switch_and_drop(store: PreferenceStore) -> None:
    """What a migration leaves that is killed once it has recorded the new shards and before it drops the old ones."""
    shards = store._ledger.shards
    old = shards.settings()
    assert old is not None
    new = replace(old, generation=old.generation + 1)
    for number in range(old.num_shards):
        for shard in shards.collections():
            if shard.name == old.shard_name(shards.name, number):
                got: Any = shard.get(include=["embeddings", "documents", "metadatas"])
                columns = {name: got[name] for name in ("ids", "embeddings", "documents", "metadatas")}
                shards.collection(new.shard_name(shards.name, number)).add(**columns)
    shards.switch(new)
