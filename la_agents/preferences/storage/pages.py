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

__all__ = ["Page", "Progress", "pages", "stored"]

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
    """Read every record, or about so many of them, some of each shard: shard after shard, user by user, by slot."""
    names = {settings.shard_name(shards.name, shard): shard for shard in range(settings.num_shards)}
    with shards.errors():
        existing = [one for one in shards.collections() if one.name in names]
        sizes = [collection.count() for collection in existing]
    total, done = sum(sizes), 0
    share = total if at_most is None else -(-at_most // max(len(existing), 1))
    for collection, size in zip(existing, sizes, strict=True):
        with shards.errors():
            ids = sorted(collection.get(limit=min(size, share), include=[])["ids"], key=_place)
        for start in range(0, len(ids), _SIZE):
            with shards.errors():
                page = _page(collection, names[collection.name], ids[start : start + _SIZE], vectors)
            done += len(page.ids)
            if progress is not None:
                progress(done, total)
            yield page


def stored(id: str, text: str | None, metadata: Mapping[str, Any]) -> StoredPreference | None:
    """The record as a preference; None if it is none."""
    if text is None or user_of(metadata) is None:
        return None
    try:
        return from_record(id, text, metadata)
    except (ValueError, KeyError, TypeError):  # JSON's and pydantic's errors are ValueErrors
        return None


def _place(id: str) -> tuple[str, int, str]:
    """Sorts a user's records by their slots."""
    return id.partition(":")[0], slot_of(id) or 0, id


def _page(collection: Collection, shard: int, wanted: list[str], vectors: bool) -> Page:
    got = collection.get(ids=wanted, include=["documents", "metadatas"])
    found = _vectors(collection, got["ids"]) if vectors and got["ids"] else {}
    columns = zip(got["ids"], got["documents"] or [], got["metadatas"] or [], strict=True)
    rows = sorted(columns, key=lambda row: _place(row[0]))
    ids, texts, metadatas = ([*column] for column in zip(*rows, strict=True)) if rows else ([], [], [])
    return Page(shard, ids, texts, [metadata or {} for metadata in metadatas], [found.get(id) for id in ids])


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
