"""The server's own SQLite file: a connection that reads and one that writes, shared by the threads of this process."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Database"]

_SCHEMA = """
CREATE TABLE keys (
    id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, name TEXT NOT NULL, user TEXT,
    prefix TEXT NOT NULL, names_users INTEGER NOT NULL, learns INTEGER NOT NULL,
    requests_per_minute INTEGER, max_concurrent INTEGER,
    created_at REAL NOT NULL, expires_at REAL, revoked_at REAL, last_used_at REAL
);
CREATE TABLE links (
    digest BLOB PRIMARY KEY, kind TEXT NOT NULL, user TEXT, expires_at REAL NOT NULL
);
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, user TEXT, key_id TEXT,
    created_at REAL NOT NULL, expires_at REAL NOT NULL
);
CREATE TABLE uses (
    user TEXT NOT NULL, preference TEXT NOT NULL, number INTEGER NOT NULL, moved REAL NOT NULL, last_at REAL NOT NULL,
    PRIMARY KEY (user, preference)
) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


class Database:
    """A file that is made when it is missing; another process, such as the `keys` command, may use it meanwhile."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._lock = threading.Lock()
        self._connection = _connection(path)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA secure_delete = ON")
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")  # of two processes that start together one makes the tables
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            for statement in _SCHEMA.split(";\n") if version == 0 else ():
                self._connection.execute(statement)
            self._connection.execute("COMMIT")
        # The event loop reads, and shall not wait for a disk that threads write to.
        self._reading = threading.Lock()
        self._reader = _connection(path)
        self._reader.execute("PRAGMA query_only = ON")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Run a query and return its rows."""
        with self._reading:
            return self._reader.execute(sql, values).fetchall()

    def write(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement that changes rows, durably, and return how many it changed."""
        with self._lock:
            return self._connection.execute(sql, values).rowcount

    def write_many(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        """Run a statement for several rows in one transaction."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(sql, values)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file; no other method may be called afterwards."""
        with self._reading, self._lock:
            self._reader.close()
            self._connection.close()


def _connection(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
    connection.row_factory = sqlite3.Row
    return connection
