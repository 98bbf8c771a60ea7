"""Spill: a mapping of ids that may be larger than the memory; beyond a few megabytes it lies on disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from types import TracebackType

__all__ = ["Spill"]


class Spill:
    """Ids and a number or some bytes for each, in a private temporary file of SQLite's that goes with the object."""

    def __init__(self) -> None:
        # The empty name is SQLite's for a database that it keeps in its cache, of 2 MB, and then in a temporary file.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE item (id TEXT PRIMARY KEY, value) WITHOUT ROWID")

    def __setitem__(self, id: str, value: float | bytes) -> None:
        self._database.execute("INSERT OR REPLACE INTO item VALUES (?, ?)", (id, value))

    def setdefault(self, id: str, value: bytes) -> bytes | None:
        """Keep the value if the id is new; the value that was there before, if any."""
        if self._database.execute("INSERT OR IGNORE INTO item VALUES (?, ?)", (id, value)).rowcount:
            return None
        with closing(self._database.execute("SELECT value FROM item WHERE id = ?", (id,))) as rows:
            found: bytes = rows.fetchone()[0]
        return found

    def totals(self) -> tuple[int, float]:
        """How many ids there are, and the sum of their numbers."""
        number, total = self._database.execute("SELECT COUNT(*), TOTAL(value) FROM item").fetchone()
        return int(number), float(total)

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
