"""Cleaning: removes what Chroma's files still hold of deleted records."""

from __future__ import annotations

import re
import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

from la_agents.errors import StoreUnavailableError

__all__ = ["clean", "folder_size", "last_write", "num_writes"]

_SEGMENT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def folder_size(folder: Path) -> int:
    """The bytes of all files in a folder; 0 if there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def last_write(folder: Path) -> int:
    """The number of the last write in Chroma's log; 0 if there is none."""
    return _number(folder, "SELECT MAX(seq_id) FROM embeddings_queue")


def num_writes(folder: Path, until: int) -> int:
    """How many writes Chroma's log holds up to that number."""
    return _number(folder, "SELECT COUNT(*) FROM embeddings_queue WHERE seq_id <= ?", until)


def _number(folder: Path, query: str, *values: int) -> int:
    path = folder / "chroma.sqlite3"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path, timeout=60)) as database:
        return database.execute(query, values).fetchone()[0] or 0


def clean(folder: Path) -> None:
    """Rewrite Chroma's SQLite file without what is deleted, and remove the indexes of collections that are gone.

    The log holds every write, texts included; entries of collections that exist are still needed by their indexes.

    Raises:
        StoreUnavailableError: the file cannot be rewritten, or an index is not laid out as Chroma's are.
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
    _, _, num_elements, element_bytes = struct.unpack_from("<4Q", header, 4)
    for name, width in (("data_level0.bin", element_bytes), ("length.bin", 4)):
        path, used = index / name, num_elements * width
        room = path.stat().st_size - used
        if room < 0:
            msg = f"Expected {path} to have {used} bytes or more, got {used + room}; this Chroma lays it out otherwise."
            raise StoreUnavailableError(msg)
        with path.open("r+b") as file:
            file.seek(used)
            file.write(bytes(room))
