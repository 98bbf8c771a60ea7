"""Gates: whoever rewrites a folder's files waits until this process's calls on it are done, and lets none begin.

The files are SQLite's, which keeps processes apart but not two copies of itself in one process: Chroma's and Python's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["FolderGate", "gate_of"]


class FolderGate:
    """Lets any number of threads in, or one alone.

    Whoever is in may come in again. A thread that waits here may hold locks that nobody asks for inside: a writer's.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._num_inside = 0
        self._is_taken = False
        self._own = threading.local()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Be inside, with others."""
        if self._depth == 0:
            with self._changed:
                self._changed.wait_for(lambda: not self._is_taken)
                self._num_inside += 1
        with self._deeper():
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be inside, with nobody else; not to be asked for from inside."""
        assert self._depth == 0
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken)
            self._is_taken = True
            try:
                self._changed.wait_for(lambda: self._num_inside == 0)
            except BaseException:  # an interrupt: whoever waits outside would wait for ever
                self._is_taken = False
                self._changed.notify_all()
                raise
            self._num_inside += 1
        try:
            with self._deeper():
                yield
        finally:
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                with self._changed:
                    self._num_inside -= 1
                    self._changed.notify_all()

    @property
    def _depth(self) -> int:
        return getattr(self._own, "depth", 0)

    @_depth.setter
    def _depth(self, depth: int) -> None:
        self._own.depth = depth


_gates: dict[Path, FolderGate] = {}
_lock = threading.Lock()


def gate_of(folder: Path) -> FolderGate:
    """The gate of a folder, one for all stores of this process there."""
    with _lock:
        return _gates.setdefault(folder, FolderGate())
