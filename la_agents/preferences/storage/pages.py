"""The whole store, page by page: the only place that reads across users, for the maintenance of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from la_agents.preferences.record import StoredPreference
from la_agents.preferences.storage.records import from_record, slot_of, user_of

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

    from la_agents.preferences.storage.layout import Settings
    from la_agents.preferences.storage.shards import Shards

__all__ = ["Progress", "Row", "pages"]

_SIZE = 1_000

Progress = Callable[[int, int], None]
"""Called with how many records are done, of how many."""


@dataclass(frozen=True, slots=True)
class Row:
    """A record as Chroma gives it.

    Attributes:
        shard: Its shard's number.
        id: Its id.
        text: Its document.
        metadata: Its metadata.
        vector: What the index has for it; None if it has nothing, or was not asked.
    """

    shard: int
    id: str
    text: str | None
    metadata: Mapping[str, Any]
    vector: Any = None

    @property
    def digest(self) -> str:
        """The digest of its user."""
        return self.id.partition(":")[0]

    def stored(self) -> StoredPreference | None:
        """The preference that it is; None if it is none."""
        if self.text is None or user_of(self.metadata) is None:
            return None
        try:
            return from_record(self.id, self.text, self.metadata)
        except (ValueError, KeyError, TypeError):  # JSON's and pydantic's errors are ValueErrors
            return None


def pages(
    shards: Shards,
    settings: Settings,
    *,
    vectors: bool = True,
    progress: Progress | None = None,
    at_most: int | None = None,
) -> Iterator[list[Row]]:
    """Read every record, or about so many of them, some of each shard: shard after shard, user by user, by slot."""
    names = {settings.shard_name(shards.name, shard): shard for shard in range(settings.num_shards)}
    with shards.connection.errors():
        existing = [one for one in shards.collections() if one.name in names]
        sizes = [collection.count() for collection in existing]
    total, done = sum(sizes), 0
    share = total if at_most is None else -(-at_most // max(len(existing), 1))
    for collection, size in zip(existing, sizes, strict=True):
        with shards.connection.errors():
            ids = sorted(collection.get(limit=min(size, share), include=[])["ids"], key=_place)
        for start in range(0, len(ids), _SIZE):
            with shards.connection.errors():
                page = _page(collection, names[collection.name], ids[start : start + _SIZE], vectors)
            done += len(page)
            if progress is not None:
                progress(done, total)
            yield page


def _place(id: str) -> tuple[str, int, str]:
    """Sorts a user's records by their slots."""
    return id.partition(":")[0], slot_of(id) or 0, id


def _page(collection: Collection, shard: int, wanted: list[str], vectors: bool) -> list[Row]:
    got = collection.get(ids=wanted, include=["documents", "metadatas"])
    found = _vectors(collection, got["ids"]) if vectors and got["ids"] else {}
    columns = zip(got["ids"], got["documents"] or [], got["metadatas"] or [], strict=True)
    rows = (Row(shard, id, text, metadata or {}, found.get(id)) for id, text, metadata in columns)
    return sorted(rows, key=lambda row: _place(row.id))


def _vectors(collection: Collection, ids: list[str]) -> dict[str, Any]:
    """The vectors that the index has; one that is missing makes Chroma refuse the whole page, so it is halved."""
    from chromadb.errors import ChromaError

    try:
        got = collection.get(ids=ids, include=["embeddings"])
    except ChromaError:
        if len(ids) == 1:
            return {}
        middle = len(ids) // 2
        return _vectors(collection, ids[:middle]) | _vectors(collection, ids[middle:])
    embeddings = got["embeddings"]
    return {} if embeddings is None else dict(zip(got["ids"], embeddings, strict=True))
