"""The layout on Chroma: a root collection that records the settings, and shards with the items.

An item lies in a shard chosen by the first two labels of its namespace, because Chroma filters by scanning. A search
under a longer prefix reads one shard, under a shorter one all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from la_agents.errors import StoreMismatchError
from la_agents.preferences import Connection, Handles
from la_agents_langgraph.records import (
    Namespace,
    StoredItem,
    digest,
    from_record,
    metadata_of,
    prefix_filter,
    record_id,
)

if TYPE_CHECKING:
    from chromadb.api.collection_configuration import CreateHNSWConfiguration
    from chromadb.api.models.Collection import Collection
    from chromadb.api.types import Include, Where

__all__ = ["ItemShards"]

_FORMAT = 1
_NUM_SHARDS = 32
# Vectors are compared exactly, by this library: a sparse graph is quicker to build.
_INDEX: CreateHNSWConfiguration = {"space": "cosine", "max_neighbors": 8, "ef_construction": 16, "sync_threshold": 100}
_INCLUDE: Include = ["documents", "metadatas"]


class ItemShards:
    """Reads and writes items.

    Every method raises StoreUnavailableError if Chroma cannot be used, and StoreMismatchError if the store was written
    with another embedding model or by a newer version.

    Args:
        connection: Where Chroma is.
        name: Name of the root collection and prefix of the shards'.
        embeddings: Identity of the embedding model; "" without one.
        dimension: Length of its vectors; 0 without one.
    """

    def __init__(self, connection: Connection, name: str, embeddings: str, dimension: int) -> None:
        self._connection = connection
        self._name = name
        self._settings = {"format": _FORMAT, "embeddings": embeddings, "dimension": dimension, "shards": _NUM_SHARDS}
        self._dimension = dimension
        self._handles = Handles(connection, _INDEX)
        self._lock = threading.RLock()

    def read(self, namespace: Namespace, keys: Sequence[str]) -> dict[str, StoredItem]:
        """Return the items of these keys that there are, expired or not, by key."""
        with self._connection.errors():
            shard = self._shard(self._shard_name(namespace), create=False)
            if shard is None or not keys:
                return {}
            found = shard.get(ids=[record_id(namespace, key) for key in dict.fromkeys(keys)], include=_INCLUDE)
        return {stored.item.key: stored for stored in _items(found)}

    def under(self, prefix: Namespace) -> list[StoredItem]:
        """Return all items whose namespace begins so, expired or not, the oldest first."""
        stored: list[StoredItem] = []
        with self._connection.errors():
            for shard in self._shards_under(prefix):
                stored += _items(shard.get(where=prefix_filter(prefix), include=_INCLUDE))
        return sorted(stored, key=lambda each: (each.item.created_at, each.item.namespace, each.item.key))

    def write(self, items: Sequence[StoredItem]) -> None:
        """Add or replace items; all of one shard or, on error, none of it."""
        with self._connection.errors():
            size = int(self._connection.open().get_max_batch_size())
            for name, part in self._by_shard([each.item.namespace for each in items], items).items():
                shard = self._shard(name, create=True)
                assert shard is not None  # it was made
                for start in range(0, len(part), size):
                    self._upsert(shard, part[start : start + size])

    def delete(self, places: Sequence[tuple[Namespace, str]]) -> None:
        """Remove items by namespace and key; unknown ones are passed over."""
        ids = [record_id(*place) for place in places]
        with self._connection.errors():
            for name, part in self._by_shard([namespace for namespace, _ in places], ids).items():
                if shard := self._shard(name, create=False):
                    shard.delete(ids=[*part])

    def delete_expired(self, before: float) -> int:
        """Remove what expired at that time, in seconds since 1970, or earlier, and return how many that were."""
        number = 0
        with self._connection.errors():
            expired: Where = {"expires_at": {"$lte": before}}  # type: ignore[dict-item]  # chromadb's own alias is wrong
            for shard in self._shards_under(()):
                ids = shard.get(where=expired, include=[])["ids"]
                if ids:  # of these only what is still expired: another process may have renewed some since
                    shard.delete(ids=ids, where=expired)
                number += len(ids)
        return number

    def _upsert(self, shard: Collection, items: Sequence[StoredItem]) -> None:
        shard.upsert(
            ids=[record_id(each.item.namespace, each.item.key) for each in items],
            embeddings=np.stack([self._representative(each) for each in items]),
            documents=[each.text for each in items],
            metadatas=[metadata_of(each) for each in items],
        )

    def _representative(self, stored: StoredItem) -> Any:
        """Chroma wants one vector a record: the first, or any where none is indexed."""
        return stored.vectors[0] if stored.vectors else np.eye(1, max(1, self._dimension), dtype=np.float32)[0]

    def _by_shard(self, namespaces: Sequence[Namespace], values: Sequence[Any]) -> dict[str, list[Any]]:
        parts: dict[str, list[Any]] = {}
        for namespace, value in zip(namespaces, values, strict=True):
            parts.setdefault(self._shard_name(namespace), []).append(value)
        return parts

    def _shard_name(self, namespace: Namespace) -> str:
        return f"{self._name}-{int(digest(namespace[:2]), 16) % _NUM_SHARDS:02d}"

    def _shards_under(self, prefix: Namespace) -> Iterator[Collection]:
        names = (
            [self._shard_name(prefix)] if len(prefix) >= 2 else [f"{self._name}-{n:02d}" for n in range(_NUM_SHARDS)]
        )
        for name in names:
            if shard := self._shard(name, create=False):
                yield shard

    def _shard(self, name: str, *, create: bool) -> Collection | None:
        """A shard; None if there is none yet. The root is looked at first: it says whether the settings fit."""
        with self._lock:
            if self._name not in self._handles:
                root = self._handles.make(self._name, {**self._settings}) if create else self._handles.get(self._name)
                if root is None:
                    return None
                self._check(root.metadata or {})
            return self._handles.make(name) if create else self._handles.get(name)

    def _check(self, recorded: Any) -> None:
        known = {field: recorded.get(field) for field in self._settings}
        if known != self._settings:
            self._handles.drop_all_but()
            msg = (
                f"Expected a store with the settings {known}, with which {self._connection.location} was written, got "
                f"{self._settings}; give index= the same embedding model, or name= another store."
            )
            raise StoreMismatchError(msg)


def _items(result: Any) -> list[StoredItem]:
    pairs = zip(result["documents"] or [], result["metadatas"] or [], strict=True)
    return [from_record(text, metadata) for text, metadata in pairs]
