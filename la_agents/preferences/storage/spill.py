"""Spill: a mapping from ids that is kept on disk beyond a few megabytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, MutableMapping
from types import TracebackType
from typing import TypeVar

__all__ = ["Spill"]

ValueT = TypeVar("ValueT", int, float, bytes)


class Spill(MutableMapping[str, ValueT]):
    """Ids and a number or some bytes for each, in a private temporary file of SQLite's that goes with the object."""

    def __init__(self) -> None:
        # The empty name is SQLite's for a database that it keeps in its cache, of 2 MB, and then in a temporary file.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE item (id TEXT PRIMARY KEY, value) WITHOUT ROWID")

    def __getitem__(self, id: str) -> ValueT:
        row = self._database.execute("SELECT value FROM item WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise KeyError(id)
        value: ValueT = row[0]
        return value

    def __setitem__(self, id: str, value: ValueT) -> None:
        self._database.execute("INSERT OR REPLACE INTO item VALUES (?, ?)", (id, value))

    def __delitem__(self, id: str) -> None:
        if not self._database.execute("DELETE FROM item WHERE id = ?", (id,)).rowcount:
            raise KeyError(id)

    def __iter__(self) -> Iterator[str]:
        return (row[0] for row in self._database.execute("SELECT id FROM item"))

    def __len__(self) -> int:
        return int(self._database.execute("SELECT COUNT(*) FROM item").fetchone()[0])

    def clear(self) -> None:
        """Forget all."""
        self._database.execute("DELETE FROM item")

    def total(self) -> float:
        """The sum of the numbers."""
        return float(self._database.execute("SELECT TOTAL(value) FROM item").fetchone()[0])

    def __enter__(self) -> Spill[ValueT]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
