"""Run: the rows of one measurement in a JSON Lines file, which an interrupted run can continue.

The first row is the provenance, then one row for each finished case, named by a stable key. While a run goes on rows
stand in the order they were finished; when all are there, the file is put into the order of the keys. So a run that
was interrupted and continued leaves the same bytes as one that was not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from la_agents.errors import ConfigurationError

__all__ = ["Report", "Row", "Run", "Work", "read_run"]

Row = dict[str, Any]
"""What was measured on one case: JSON-able, and finite or None."""
Report = Callable[[int, int], None]
"""Called with the number of finished cases and the number of all."""
Work = Callable[[Sequence[str]], Iterable[tuple[str, Row]]]
"""Measures the cases with these keys, and yields each key with its row as soon as it is finished, in any order."""


class Run:
    """The results file `<suite>.jsonl` of one measurement in a folder, locked while open.

    Args:
        folder: Made if it does not exist.
        header: What the numbers depend on (`provenance`). Rows that are there already count only if theirs is the same.

    Raises:
        ConfigurationError: the folder holds this suite's results of another provenance, is in use, or its file is
            damaged beyond a torn last line.
    """

    def __init__(self, folder: Path, header: Row) -> None:
        suite = header["provenance"]["suite"]
        self.path = folder / f"{suite}.jsonl"
        self.rows: dict[str, Row] = {}
        self._header = header
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"Expected --out to be a folder that can be written, got {folder}: {error}"
            raise ConfigurationError(msg) from error
        self._lock = FileLock(folder / f".{suite}.lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            msg = f"Expected {self.path} to be written by one run at a time, another one is; choose another --out."
            raise ConfigurationError(msg) from error
        try:
            self._take_up()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file; another run may continue it."""
        self._lock.release()

    def add(self, key: str, row: Row) -> None:
        """Append a finished case's row to the file."""
        line = _line({"key": key, **row})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
        self.rows[key] = json.loads(line)

    def complete(self, keys: Sequence[str], work: Work, report: Report | None = None) -> list[Row]:
        """Measure what is missing of `keys`, and return all their rows in the order of `keys`.

        Rows are returned as the file has them, so that nothing depends on whether they were just measured. Work in
        stages, where a later one depends on an earlier one's rows, completes the first keys, then all of them.

        Raises:
            ConfigurationError: two cases have one key, or `work` left one out.
        """
        if len(set(keys)) != len(keys):
            msg = "Expected every case to have a key of its own, got one twice."
            raise ConfigurationError(msg)
        missing = [key for key in keys if key not in self.rows]
        report = report or (lambda _done, _total: None)
        num_done = len(keys) - len(missing)
        report(num_done, len(keys))
        for num_new, (key, row) in enumerate(work(missing) if missing else (), start=1):
            self.add(key, row)
            report(num_done + num_new, len(keys))
        left = [key for key in keys if key not in self.rows]
        if left:
            msg = f"Expected a row for every case, {len(left)} are missing, {left[0]!r} the first of them."
            raise ConfigurationError(msg)
        self._write(keys)
        return [self.rows[key] for key in keys]

    def _take_up(self) -> None:
        found: list[Row] = []
        if self.path.exists():
            content = self.path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]  # what follows was being written when the run was interrupted
            if whole != content:
                os.truncate(self.path, len(whole))
            found = _parsed(self.path)
        if not found:  # or interrupted before its first line was whole
            self._write(())
            return
        header, *rows = found
        if header != json.loads(_line(self._header)):
            old, new = header["provenance"], json.loads(_line(self._header["provenance"]))
            names = ", ".join(name for name in new if old.get(name) != new[name]) or "fields"
            msg = (
                f"Expected {self.path} to hold results of the same measurement, its {names} differ; "
                "choose another --out, or remove that file to start again."
            )
            raise ConfigurationError(msg)
        self.rows = {row["key"]: row for row in rows}

    def _write(self, keys: Sequence[str]) -> None:
        """Replace the file by header and rows in order, atomically."""
        order = dict.fromkeys([*keys, *self.rows])  # rows of later stages stay behind
        content = "".join([_line(self._header), *(_line(self.rows[key]) for key in order)]).encode()
        if self.path.exists() and self.path.read_bytes() == content:
            return
        beside = self.path.with_suffix(".tmp")
        beside.write_bytes(content)
        os.replace(beside, self.path)


def read_run(path: Path) -> tuple[Row, list[Row]]:
    """The header and the rows of a results file.

    Raises:
        ConfigurationError: it cannot be read, or is not such a file.
    """
    header, *rows = _parsed(path) or [{}]
    if not header:
        msg = f"Expected {path} to begin with a provenance row, it is empty; run the suite again."
        raise ConfigurationError(msg)
    return header, rows


def _parsed(path: Path) -> list[Row]:
    """All lines of a results file."""
    rows: list[Row] = []
    try:
        for line in path.read_bytes().splitlines():
            rows.append(json.loads(line))
    except OSError as error:
        msg = f"Expected results in {path}, got {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    except ValueError as error:
        msg = f"Expected JSON in line {len(rows) + 1} of {path}, got: {error}; remove that file to start again."
        raise ConfigurationError(msg) from error
    names = ["provenance", *["key"] * len(rows)]
    if not all(isinstance(row, dict) and name in row for name, row in zip(names, rows, strict=False)):
        msg = f"Expected {path} to hold a provenance row and then rows with keys, it does not; choose another --out."
        raise ConfigurationError(msg)
    return rows


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
