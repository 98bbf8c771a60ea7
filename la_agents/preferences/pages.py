"""The whole store, page by page: the only place that reads across users, for the maintenance of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from la_agents.preferences.records import StoredPreference, from_record, owner_of

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

    from la_agents.preferences.layout import Settings
    from la_agents.preferences.shards import Shards

__all__ = ["Page", "Progress", "is_vector", "pages", "stored"]

_SIZE = 1_000

Progress = Callable[[int, int], None]
"""Called with how many records are done, of how many."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some records of one shard, as Chroma gives them.

    Attributes:
        shard: The shard's number.
        ids: The records' ids.
        texts: Their documents.
        metadatas: Their metadata.
        vectors: What the index has for them; None where it has nothing, or was not asked.
    """

    shard: int
    ids: list[str]
    texts: list[str | None]
    metadatas: list[Mapping[str, Any]]
    vectors: list[Any]


def pages(
    shards: Shards,
    settings: Settings,
    *,
    vectors: bool = True,
    progress: Progress | None = None,
    at_most: int | None = None,
) -> Iterator[Page]:
    """Read every record, or about so many of them, some of each shard; shard after shard."""
    with shards.errors():
        names = {settings.shard_name(shards.name, shard): shard for shard in range(settings.num_shards)}
        existing = [one for one in shards.collections() if one.name in names]
        total, done = sum(one.count() for one in existing), 0
        share = total if at_most is None else -(-at_most // max(len(existing), 1))
        for collection in existing:
            for offset in range(0, min(collection.count(), share), _SIZE):
                page = _page(collection, names[collection.name], offset, vectors, min(_SIZE, share - offset))
                if not page.ids:  # erased meanwhile
                    break
                done += len(page.ids)
                if progress is not None:
                    progress(done, total)
                yield page


def stored(id: str, text: str | None, metadata: Mapping[str, Any]) -> StoredPreference | None:
    """The record as a preference; None if it is none."""
    if text is None or owner_of(metadata) is None:
        return None
    try:
        return from_record(id, text, metadata)
    except (ValueError, KeyError, TypeError):  # JSON's and pydantic's errors are ValueErrors
        return None


def is_vector(vector: Any, dimension: int) -> bool:
    """Whether it is an embedding of that length."""
    return vector is not None and len(vector) == dimension and bool(np.isfinite(vector).all())


def _page(collection: Collection, shard: int, offset: int, vectors: bool, limit: int) -> Page:
    got = collection.get(limit=limit, offset=offset, include=["documents", "metadatas"])
    ids = got["ids"]
    found = _vectors(collection, ids) if vectors and ids else {}
    metadatas = [metadata or {} for metadata in got["metadatas"] or []]
    return Page(shard, ids, [*(got["documents"] or [])], metadatas, [found.get(id) for id in ids])


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
