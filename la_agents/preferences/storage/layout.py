"""The store's layout on Chroma, as values: what the root collection records, how shards are called and indexed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from la_agents.preferences.storage.records import user_digest

if TYPE_CHECKING:
    from chromadb.api.collection_configuration import CreateHNSWConfiguration

__all__ = ["FORMAT", "INDEX", "NUM_SHARDS", "OLDEST_FORMAT", "Settings"]

FORMAT = 2
"""2: records lie in slots, `slots.py`. 1: a record's id held the preference's id; `maintenance.rebuild` renews it."""

OLDEST_FORMAT = 1

NUM_SHARDS = 128
"""Shards of a new store. Reading does not depend on them, but Chroma loads a shard's whole vector index when a process
first visits it, and again to write to it if it was let go: 8 thousand records, 13 MB, where a million are stored. More
shards would cost open files, 5 an index, and a longer log, see INDEX."""

# The graph is never searched: a search filtered down to one user's few records may miss some, so those are read and
# compared exactly. A sparse graph is quicker to build (3 x the records per second at 8 thousand a shard). Chroma scans
# the log of the whole store at each write, and replays a shard's when a process first reads it: short logs (100 records
# instead of 1,000 a shard) make writes and first visits some ten times faster.
INDEX: CreateHNSWConfiguration = {
    "space": "cosine",
    "max_neighbors": 8,
    "ef_construction": 16,
    "batch_size": 50,
    "sync_threshold": 100,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a store was made with, recorded in its root collection; changed by `maintenance.rebuild` alone.

    Attributes:
        embeddings: Identity of the embedding model.
        dimension: Length of its vectors.
        num_shards: Number of shards that users are spread over.
        generation: How often the shards were written anew, each time under new names.
        format: Version of this layout.
    """

    embeddings: str
    dimension: int
    num_shards: int = NUM_SHARDS
    format: int = FORMAT
    generation: int = 0

    def shard_of(self, user: str) -> int:
        """The number of the shard in which a user's records lie."""
        return int(user_digest(user), 16) % self.num_shards

    def shard_name(self, root: str, shard: int) -> str:
        """The collection's name of a shard, by number."""
        return f"{root}.g{self.generation}.{shard:04d}" if self.generation else f"{root}-{shard:04d}"
