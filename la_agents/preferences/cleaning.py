"""Cleaning: what Chroma keeps in a store's folder of records that are gone, and how that is overwritten."""

from __future__ import annotations

import re
import shutil
import sqlite3
import struct
from pathlib import Path

from la_agents.errors import StoreUnavailableError

__all__ = ["clean", "folder_size"]

_SEGMENT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def folder_size(folder: Path) -> int:
    """The bytes of all files in a folder; 0 if there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def clean(folder: Path) -> int:
    """Rewrite Chroma's SQLite file without what is deleted, and remove the indexes of collections that are gone.

    The log holds every write, texts included; entries of collections that exist are still needed by their indexes.

    Returns:
        How many entries of the log went.
    """
    database = sqlite3.connect(folder / "chroma.sqlite3", timeout=60, isolation_level=None)
    try:
        topics = [row[0] for row in database.execute("SELECT DISTINCT topic FROM embeddings_queue")]
        existing = {row[0] for row in database.execute("SELECT id FROM collections")}
        gone = [(topic,) for topic in topics if topic.rpartition("/")[2] not in existing]
        num_gone = database.executemany("DELETE FROM embeddings_queue WHERE topic = ?", gone).rowcount
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
    return max(num_gone, 0)


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
