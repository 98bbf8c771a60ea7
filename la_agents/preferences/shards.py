"""The store's layout on Chroma: a root collection that records the settings, and shards with the records.

A user's records all lie in one shard, chosen by a stable hash of the user id, because Chroma filters metadata by
scanning: what a query costs follows the size of the shard and not of the store. A shard is made when its first user
comes. Nothing here knows what a preference says.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from la_agents.errors import StoreMismatchError, StoreUnavailableError
from la_agents.preferences.records import (
    ARCHIVE_FIELD,
    USER_FIELD,
    StoredPreference,
    from_record,
    metadata_of,
    owner_of,
    record_id,
    user_digest,
)

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.collection_configuration import CreateHNSWConfiguration
    from chromadb.api.models.Collection import Collection
    from chromadb.api.types import GetResult, Include, Where

    from la_agents.preferences.connection import Connection

__all__ = ["NUM_SHARDS", "Settings", "Shards"]

NUM_SHARDS = 128
"""Shards of a new store. A million records make shards of 8 thousand: 3 ms a user. More would cost open
files: an index has 5, and Chroma keeps indexes open up to a fifth of the process's limit, often 1,024."""

T = TypeVar("T")

_FORMAT = 1
# The graph is never searched: a search filtered down to one user's few records may miss some, so those are read and
# compared exactly. A sparse graph is quicker to build (3 x the records per second at 8 thousand a shard). Chroma scans
# the log of the whole store at each write, and replays a shard's when a process first reads it: short logs (100 records
# instead of 1,000 a shard) make writes and first visits some ten times faster.
_INDEX: CreateHNSWConfiguration = {
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
    format: int = _FORMAT
    generation: int = 0

    def shard_name(self, root: str, shard: int) -> str:
        """The collection's name of a shard, by number."""
        return f"{root}.g{self.generation}.{shard:04d}" if self.generation else f"{root}-{shard:04d}"


class Shards:
    """Reads and writes one user's records at a time.

    Every method raises StoreUnavailableError if Chroma cannot be used, and StoreMismatchError if the store
    was written with another embedding model or by a newer version.

    Args:
        connection: Where Chroma is.
        name: Name of the root collection and prefix of the shards'.
        embeddings: Identity of the embedding model that this process uses.
    """

    def __init__(self, connection: Connection, name: str, embeddings: str) -> None:
        self._connection = connection
        self.name = name
        self._embeddings = embeddings
        self._settings: Settings | None = None
        self._open: dict[str, Collection] = {}
        self._lock = threading.RLock()

    def read(
        self,
        user: str,
        ids: Sequence[str] | None = None,
        *,
        vectors: bool = False,
        archived: bool = False,
        history: bool = True,
    ) -> list[StoredPreference]:
        """Return the user's records, all or those of the given preference ids, in no order.

        Args:
            user: Whose.
            ids: Preference ids; of all that the user has, archived or not.
            vectors: Whether to read the embeddings.
            archived: Whether to return, without ids, what was superseded or forgotten too.
            history: Whether to read what happened to them.
        """
        include: Include = ["documents", "metadatas"]
        own: Where = {USER_FIELD: user}
        where: Where = {"$or": [own, {ARCHIVE_FIELD: user}]} if archived else own
        wanted = None if ids is None else [record_id(user, each) for each in ids]
        if wanted == []:
            return []

        def get(shard: Collection) -> GetResult:
            return shard.get(where=where, include=include) if wanted is None else shard.get(ids=wanted, include=include)

        result = self._on_shard(user, get)
        return [] if result is None else _records(result, user, vectors, history)

    def pages(self, user: str, size: int = 1_000) -> Iterator[list[StoredPreference]]:
        """Return all that the user has, archived or not, in pages, without vectors."""
        where: Where = {"$or": [{USER_FIELD: user}, {ARCHIVE_FIELD: user}]}
        include: Include = ["documents", "metadatas"]
        for offset in itertools.count(0, size):
            get = partial(_page, where=where, include=include, limit=size, offset=offset)
            result = self._on_shard(user, get)
            page = [] if result is None else _records(result, user, vectors=False, history=True)
            if page:
                yield page
            if len(page) < size:
                return

    def write(self, user: str, records: Sequence[StoredPreference]) -> None:
        """Add or replace records, each with its vector: all of them or, on error, none."""
        vectors = [record.vector for record in records if record.vector is not None]

        def upsert(shard: Collection) -> None:
            shard.upsert(
                ids=[record_id(user, record.preference.id) for record in records],
                embeddings=np.stack(vectors),
                documents=[record.preference.text for record in records],
                metadatas=[metadata_of(record) for record in records],
            )

        self._on_shard(user, upsert, dimension=len(vectors[0]))

    def delete(self, user: str, ids: Sequence[str]) -> None:
        """Remove records by preference id; unknown ones are passed over."""
        if ids:
            self._on_shard(user, lambda shard: shard.delete(ids=[record_id(user, each) for each in ids]))

    def max_batch_size(self) -> int:
        """How many records one `write` can hold."""
        with self._connection.errors():
            return int(self._connection.open().get_max_batch_size())

    def check_dimension(self, dimension: int) -> None:
        """Raise StoreMismatchError unless vectors of this length fit the store, if there is one yet."""
        with self._lock, self._connection.errors():
            settings = self._known_settings(self._connection.open())
        if settings is not None and dimension != settings.dimension:
            msg = (
                f"Expected vectors of {settings.dimension} numbers as in the store "
                f"{self._connection.location}, got {dimension}; use the embedding model it was written with."
            )
            raise StoreMismatchError(msg)

    @property
    def folder(self) -> Path | None:
        """Where the files are; None if they are a server's or somebody else's."""
        return self._connection.folder

    def errors(self) -> AbstractContextManager[None]:
        """Chroma's errors as this library's."""
        return self._connection.errors()

    def client(self) -> ClientAPI:
        """The open client."""
        return self._connection.open()

    def settings(self) -> Settings | None:
        """What the store records; None if there is none yet."""
        with self._lock, self._connection.errors():
            return self._known_settings(self._connection.open())

    def switch(self, settings: Settings) -> None:
        """Record other settings: from here on, every call uses their shards."""
        with self._lock, self._connection.errors():
            root = self._collection(self._connection.open(), self.name, create=False)
            assert root is not None  # there were settings to change
            root.modify(metadata=asdict(settings))
            self._forget()

    def collection(self, name: str, *, create: bool) -> Collection:
        """A shard by its name."""
        with self._lock:
            found = self._collection(self._connection.open(), name, create=create)
        assert found is not None or not create
        return cast("Collection", found)

    def _on_shard(self, user: str, act: Callable[[Collection], T], dimension: int | None = None) -> T | None:
        """Do something on the user's collection, which is made if a dimension is given; None if there is none.

        If the shards were written anew since they were last looked up, it is done on the new one.
        """
        from chromadb.errors import NotFoundError

        with self._connection.errors():
            for is_last in (False, True):
                shard = self._shard(user, dimension)
                try:
                    return None if shard is None else act(shard)
                except NotFoundError:
                    if is_last or not self._was_switched():
                        raise
        raise AssertionError  # the second round returns or raises

    def _was_switched(self) -> bool:
        """Look the settings up again, and say whether they are others."""
        with self._lock:
            before = self._settings
            self._forget()
            now = self._known_settings(self._connection.open())
            return now is not None and now != before

    def _forget(self) -> None:
        self._settings = None
        self._open.clear()

    def _shard(self, user: str, dimension: int | None = None) -> Collection | None:
        """The collection of this user, made if a dimension is given; None if there is none yet."""
        with self._lock, self._connection.errors():
            client = self._connection.open()
            offer = None if dimension is None else Settings(self._embeddings, dimension)
            settings = self._known_settings(client, offer)
            if settings is None:
                return None
            if dimension is not None:
                self.check_dimension(dimension)
            name = settings.shard_name(self.name, int(user_digest(user), 16) % settings.num_shards)
            return self._collection(client, name, create=dimension is not None)

    def _known_settings(self, client: ClientAPI, offer: Settings | None = None) -> Settings | None:
        """What the store records, once it exists; an offer makes it exist. The first to make it decides."""
        if self._settings is None:
            metadata = None if offer is None else asdict(offer)
            root = self._collection(client, self.name, create=offer is not None, metadata=metadata)
            self._settings = None if root is None else self._read_settings(root.metadata or {})
        return self._settings

    def _read_settings(self, recorded: Mapping[str, Any]) -> Settings:
        where = f"the store {self._connection.location}"
        if recorded.get("format") != _FORMAT:
            msg = (
                f"Expected {where} to have format {_FORMAT}, got {recorded.get('format')}; "
                "use the version of la-agents that wrote it, or another collection name."
            )
            raise StoreMismatchError(msg)
        settings = Settings(**recorded)
        if settings.embeddings != self._embeddings:
            msg = (
                f"Expected the embedding model {settings.embeddings!r}, with which {where} was written, got "
                f"{self._embeddings!r}; give embeddings= that model, or embeddings_name= if it is the same."
            )
            raise StoreMismatchError(msg)
        return settings

    def _collection(
        self, client: ClientAPI, name: str, *, create: bool, metadata: dict[str, Any] | None = None
    ) -> Collection | None:
        from chromadb.errors import NotFoundError

        if name in self._open:
            return self._open[name]
        try:
            if create:
                found = client.get_or_create_collection(
                    name, embedding_function=None, metadata=metadata, configuration={"hnsw": _INDEX}
                )
            else:
                found = client.get_collection(name, embedding_function=None)
        except NotFoundError:
            return None  # another process may make it any time, so its absence is not remembered
        self._open[name] = found
        return found


def _page(shard: Collection, **options: Any) -> GetResult:
    return shard.get(**options)


def _records(result: GetResult, user: str, vectors: bool, history: bool) -> list[StoredPreference]:
    """Read Chroma's columns. A record of anybody else is dropped here, whatever the filter let through."""
    ids, texts, metadatas = result["ids"], result["documents"] or [], result["metadatas"] or []
    try:
        return [
            from_record(record, text, metadata, vectors=vectors, history=history)
            for record, text, metadata in zip(ids, texts, metadatas, strict=True)
            if owner_of(metadata) == user
        ]
    except (ValueError, KeyError, TypeError) as error:  # JSON's and pydantic's errors are ValueErrors
        msg = "Expected readable records, got a damaged one; run `la-agents prefs verify --repair`."
        raise StoreUnavailableError(msg) from error
