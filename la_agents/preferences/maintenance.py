"""The whole store at once, for whoever runs it: figures, checks, mending, other shards, and purging the folder.

This is the only place that reads across users, and it returns counts and record ids, never a text.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from la_agents.errors import ConfigurationError, StoreUnavailableError
from la_agents.preferences.records import StoredPreference, from_record, metadata_of, owner_of, user_digest
from la_agents.preferences.screening import flags

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

    from la_agents.preferences.shards import Settings, Shards
    from la_agents.preferences.vectorizer import Vectorizer

__all__ = ["Maintenance", "Purged", "Stats", "Verified"]

_PAGE = 1_000
_SEGMENT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Progress = Callable[[int, int], None]
"""Called with how many records are done, of how many."""


@dataclass(frozen=True, slots=True)
class Stats:
    """How much a store holds.

    Attributes:
        num_users: Users, and shared layers, with at least one record.
        states: Preferences by state.
        num_flagged: Preferences whose text looks like an attempt on the prompt; see `prefs list` of a user.
        num_shards: Shards that users are spread over.
        num_bytes: Size of the folder; None on a server.
        num_records: Records in the store.
        num_read: How many of them the users, states and flags were counted in; all, or a sample over all shards.
    """

    num_users: int
    states: Mapping[str, int]
    num_flagged: int
    num_shards: int
    num_bytes: int | None
    num_records: int
    num_read: int


@dataclass(slots=True)
class Verified:
    """What `verify` found; ids are records', `<user digest>:<preference id>`.

    Attributes:
        num_records: Records looked at.
        unreadable: Records whose content is no preference.
        misplaced: Records that lie under another user's or shard's name, where no call finds them.
        unindexed: Records without a proper vector in the index.
        repaired: Whether these were mended: unreadable ones removed, misplaced ones moved, vectors made anew.
    """

    num_records: int = 0
    unreadable: list[str] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)
    unindexed: list[str] = field(default_factory=list)
    repaired: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether nothing is amiss, or no longer."""
        return self.repaired or not (self.unreadable or self.misplaced or self.unindexed)


@dataclass(frozen=True, slots=True)
class Purged:
    """The receipt of a purge.

    Attributes:
        num_kept: Records that were written anew; all that was not is gone from every file.
        num_bytes_before: Size of the folder before.
        num_bytes_after: Size of the folder after.
    """

    num_kept: int
    num_bytes_before: int
    num_bytes_after: int


@dataclass(frozen=True, slots=True)
class _Page:
    shard: int
    ids: list[str]
    texts: list[str | None]
    metadatas: list[Mapping[str, Any] | None]
    vectors: list[Any]


class Maintenance:
    """Works on all shards of one store. Nothing else may write meanwhile; see `PreferenceStore.verify` and so on."""

    def __init__(self, shards: Shards, vectorizer: Vectorizer) -> None:
        self._shards = shards
        self._vectorizer = vectorizer

    def stats(self, at_most: int | None = None) -> Stats:
        """Count, without an index or an embedding, in all records or in about so many."""
        states: Counter[str] = Counter()
        owners, num_flagged = set(), 0
        num_read, num_records = 0, 0

        def note(read: int, all_: int) -> None:
            nonlocal num_read, num_records
            num_read, num_records = read, all_

        for page in self._pages(vectors=False, progress=note, at_most=at_most):
            for id, text, metadata in zip(page.ids, page.texts, page.metadatas, strict=True):
                record = _read(id, text, metadata)
                states[record.preference.state if record else "unreadable"] += 1
                owners.add(id.partition(":")[0])
                num_flagged += bool(text and flags(text))
        settings = self._shards.settings()
        folder = self._shards.folder
        num_bytes = None if folder is None else _size(folder)
        num_shards = settings.num_shards if settings else 0
        return Stats(len(owners), dict(states), num_flagged, num_shards, num_bytes, num_records, num_read)

    def verify(self, progress: Progress | None = None) -> Verified:
        """Check that every record can be read, lies where calls look for it, and has its vector."""
        found, settings = Verified(), self._shards.settings()
        if settings is None:
            return found
        for page in self._pages(progress=progress):
            for id, text, metadata, vector in zip(page.ids, page.texts, page.metadatas, page.vectors, strict=True):
                found.num_records += 1
                record = _read(id, text, metadata)
                if record is None:
                    found.unreadable.append(id)
                elif (
                    _shard_of(id, settings) != page.shard
                    or user_digest(record.preference.user_id) != id.partition(":")[0]
                ):
                    found.misplaced.append(id)
                if record is not None and not all(_is_vector(v, settings.dimension) for v in (vector, record.vector)):
                    found.unindexed.append(id)
        return found

    def rebuild(self, num_shards: int | None = None, progress: Progress | None = None) -> int:
        """Write every readable record into new shards, switch to them, drop the old ones; return how many records.

        Until the switch, which is one write, the store is as it was: a rebuild that is cut off leaves it whole, and the
        next one removes what was left.

        Raises:
            ConfigurationError: num_shards is not within [1, 4096].
        """
        if num_shards is not None and not 1 <= num_shards <= 4_096:
            msg = f"Expected num_shards to be within [1, 4096], got {num_shards}."
            raise ConfigurationError(msg)
        old = self._shards.settings()
        if old is None:
            return 0
        new = replace(old, num_shards=num_shards or old.num_shards, generation=old.generation + 1)
        self._drop_all_but(old)
        num_written = 0
        for page in self._pages(vectors=False, progress=progress):
            num_written += self._copy(page, new)
        self._shards.switch(new)
        self._drop_all_but(new)
        return num_written

    def purge(self, progress: Progress | None = None) -> Purged:
        """Rebuild, then clean what Chroma keeps beside its tables: its log, its full-text index, free pages, old files.

        Raises:
            ConfigurationError: the store is on a server, whose files are not in reach.
        """
        folder = self._shards.folder
        if folder is None:
            msg = "Expected a store in a folder, got one on a server; stop the server and purge with path= its folder."
            raise ConfigurationError(msg)
        before = _size(folder) if folder.exists() else 0
        num_kept = self.rebuild(progress=progress)
        if num_kept or before:
            _clean(folder)
        return Purged(num_kept, before, _size(folder) if folder.exists() else 0)

    def _copy(self, page: _Page, new: Settings) -> int:
        """Write a page's readable records into the new shards; vectors that are missing are made."""
        records = {i: _read(id, page.texts[i], page.metadatas[i]) for i, id in enumerate(page.ids)}
        good = {i: record for i, record in records.items() if record is not None}
        bare = [i for i, record in good.items() if not _is_vector(record.vector, new.dimension)]
        made: Iterable[Any] = self._vectorizer.documents([str(page.texts[i]) for i in bare]) if bare else []
        vectors = {**{i: record.vector for i, record in good.items()}, **dict(zip(bare, made, strict=True))}
        targets: dict[int, list[int]] = defaultdict(list)
        for i in good:
            targets[_shard_of(_right_id(page, i), new)].append(i)
        for shard, rows in targets.items():
            with self._shards.errors():
                self._shards.collection(new.shard_name(self._shards.name, shard), create=True).upsert(
                    ids=[_right_id(page, i) for i in rows],
                    embeddings=np.stack([np.asarray(vectors[i], dtype=np.float32) for i in rows]),
                    documents=[str(page.texts[i]) for i in rows],
                    metadatas=[metadata_of(replace(good[i], vector=vectors[i])) for i in rows],
                )
        return len(good)

    def _pages(
        self, *, vectors: bool = True, progress: Progress | None = None, at_most: int | None = None
    ) -> Iterator[_Page]:
        settings = self._shards.settings()
        if settings is None:
            return
        with self._shards.errors():
            client = self._shards.client()
            names = {settings.shard_name(self._shards.name, shard): shard for shard in range(settings.num_shards)}
            existing = [one for one in _collections(client) if one.name in names]
            total, done = sum(one.count() for one in existing), 0
            share = total if at_most is None else -(-at_most // max(len(existing), 1))
            for collection in existing:
                for offset in range(0, min(collection.count(), share), _PAGE):
                    page = _page(collection, names[collection.name], offset, vectors, min(_PAGE, share - offset))
                    done += len(page.ids)
                    if progress is not None:
                        progress(done, total)
                    yield page

    def _drop_all_but(self, settings: Settings) -> None:
        """Delete shards of other generations: those that were replaced, or left by a rebuild that was cut off."""
        root = re.escape(self._shards.name)
        kept = {settings.shard_name(self._shards.name, shard) for shard in range(settings.num_shards)}
        with self._shards.errors():
            client = self._shards.client()
            for collection in _collections(client):
                if re.fullmatch(rf"{root}(?:-|\.g\d+\.)\d{{4}}", collection.name) and collection.name not in kept:
                    client.delete_collection(collection.name)


def _collections(client: ClientAPI) -> list[Collection]:
    found: list[Collection] = []
    while page := client.list_collections(limit=500, offset=len(found)):
        found += page
    return found


def _page(collection: Collection, shard: int, offset: int, vectors: bool, limit: int) -> _Page:
    got = collection.get(limit=limit, offset=offset, include=["documents", "metadatas"])
    ids = got["ids"]
    found = _vectors(collection, ids) if vectors else {}
    texts, metadatas = list(got["documents"] or []), list(got["metadatas"] or [])
    return _Page(shard, ids, [*texts], [*metadatas], [found.get(id) for id in ids])


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


def _read(id: str, text: str | None, metadata: Mapping[str, Any] | None) -> StoredPreference | None:
    """The record, or None if it is not one."""
    if text is None or metadata is None or owner_of(metadata) is None:
        return None
    try:
        return from_record(id, text, metadata)
    except (ValueError, KeyError, TypeError):  # JSON's and pydantic's errors are ValueErrors
        return None


def _right_id(page: _Page, row: int) -> str:
    owner = owner_of(page.metadatas[row] or {}) or ""
    return f"{user_digest(owner)}:{page.ids[row].partition(':')[2]}"


def _shard_of(id: str, settings: Settings) -> int:
    """The shard that a record belongs to, by its id."""
    try:
        return int(id.partition(":")[0], 16) % settings.num_shards
    except ValueError:
        return -1


def _is_vector(vector: Any, dimension: int) -> bool:
    return vector is not None and len(vector) == dimension and bool(np.isfinite(vector).all())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _clean(folder: Path) -> None:
    """Rewrite Chroma's SQLite file without what is deleted, and remove the indexes of collections that are gone.

    The log holds every write, texts included; entries of collections that exist are still needed by their indexes.
    """
    database = sqlite3.connect(folder / "chroma.sqlite3", timeout=60, isolation_level=None)
    try:
        topics = [row[0] for row in database.execute("SELECT DISTINCT topic FROM embeddings_queue")]
        existing = {row[0] for row in database.execute("SELECT id FROM collections")}
        gone = [(topic,) for topic in topics if topic.rpartition("/")[2] not in existing]
        database.executemany("DELETE FROM embeddings_queue WHERE topic = ?", gone)
        database.execute("INSERT INTO embedding_fulltext_search(embedding_fulltext_search) VALUES('optimize')")
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        segments = {row[0] for row in database.execute("SELECT id FROM segments")}
    except sqlite3.Error as error:
        msg = f"Expected to rewrite {folder / 'chroma.sqlite3'}, got: {error}; close other programs and purge again."
        raise StoreUnavailableError(msg) from error
    finally:
        database.close()
    for path in folder.iterdir():
        if path.is_dir() and _SEGMENT.fullmatch(path.name) and path.name not in segments:
            shutil.rmtree(path)
    for header in folder.glob("*/header.bin"):
        _blank_unused(header.parent)


def _blank_unused(index: Path) -> None:
    """Put zeros where an index file has room for more elements.

    hnswlib writes that room to disk as it got it from the allocator: pieces of whatever this process had in memory.
    """
    header = (index / "header.bin").read_bytes()
    _, max_elements, num_elements, element_bytes = struct.unpack_from("<4Q", header, 4)
    for name, width in (("data_level0.bin", element_bytes), ("length.bin", 4)):
        path = index / name
        if path.stat().st_size != max_elements * width:
            msg = f"Expected {path} to have {max_elements * width} bytes, got another layout; install chromadb 1.5."
            raise StoreUnavailableError(msg)
        with path.open("r+b") as file:
            file.seek(num_elements * width)
            file.write(bytes((max_elements - num_elements) * width))
