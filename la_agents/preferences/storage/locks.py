"""Who keeps whom out: the writers of one user, who rewrites a folder's files, and processes on one folder.

Changing a record reads it first, and two changes that read the same would lose one: so one writer at a time a user,
over all stores of this process. Several processes against one server are not kept apart by locks; see `claims.py`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from la_agents.errors import ConfigurationError, StoreUnavailableError
from la_agents.preferences.storage.records import user_digest

__all__ = ["FolderGate", "FolderLocks", "everybody", "gate_of", "writer"]

_WRITERS = tuple(threading.RLock() for _ in range(64))
_own = threading.local()


@contextmanager
def writer(user: str) -> Iterator[None]:
    """Held by whoever changes something of this user.

    Raises:
        ConfigurationError: the thread is writing the store anew, and would lose the change: in a progress callback.
    """
    if getattr(_own, "is_everybody", False):
        msg = "Expected nothing to be written while the store is written anew, got a change; make it afterwards."
        raise ConfigurationError(msg)
    with _WRITERS[int(user_digest(user), 16) % len(_WRITERS)]:
        yield


@contextmanager
def everybody() -> Iterator[None]:
    """No writer of this process works on any store meanwhile."""
    with ExitStack() as stack:
        for lock in _WRITERS:
            stack.enter_context(lock)
        before, _own.is_everybody = getattr(_own, "is_everybody", False), True
        try:
            yield
        finally:
            _own.is_everybody = before


class FolderGate:
    """Lets any number of threads at a folder's files, or one alone, which rewrites them; who is in may come in again.

    The files are SQLite's, which keeps processes apart but not two copies of itself in one process: Chroma's and
    Python's. A thread that waits here may hold locks that nobody asks for inside: a writer's.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = Counter[int]()  # how often each thread is in
        self._is_taken = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Be inside, with others."""
        thread = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: thread in self._inside or not self._is_taken)
            self._inside[thread] += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside[thread] -= 1
                if not self._inside[thread]:
                    del self._inside[thread]
                    self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be inside, with nobody else; not to be asked for from inside."""
        thread = threading.get_ident()
        with self._changed:
            assert thread not in self._inside
            self._changed.wait_for(lambda: not self._is_taken)
            self._is_taken = True
        try:
            with self._changed:
                self._changed.wait_for(lambda: not self._inside)
                self._inside[thread] += 1
            try:
                yield
            finally:
                with self._changed:
                    del self._inside[thread]
        finally:
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()


_gates: dict[Path, FolderGate] = {}
_lock = threading.Lock()


def gate_of(folder: Path) -> FolderGate:
    """The gate of a folder, one for all stores of this process there."""
    with _lock:
        return _gates.setdefault(folder, FolderGate())


class FolderLocks:
    """The folders that this process keeps others out of, by a lock file in each; the caller lets one thread in.

    They are counted: a folder is free when the last store there is closed, or the process ends, however it ends.
    """

    def __init__(self) -> None:
        self._held: dict[Path, tuple[FileLock, int]] = {}

    def hold(self, folder: Path) -> None:
        """Keep other processes out of the folder, which is made if need be, for its owner's eyes alone.

        Raises:
            StoreUnavailableError: another process has it open.
            OSError: the folder or the lock file cannot be made.
        """
        lock, count = self._held.get(folder, (None, 0))
        if lock is None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(folder / ".la-agents.lock", timeout=0, thread_local=False)  # whichever thread closes
            try:
                lock.acquire()
            except Timeout as error:
                msg = (
                    f"Expected {folder} to be free, got a store that another process has open; close that one, "
                    f'or let both use a server: `chroma run --path {folder}`, then PreferenceStore(url="http://localhost:8000").'
                )
                raise StoreUnavailableError(msg) from error
        self._held[folder] = (lock, count + 1)

    def release(self, folder: Path) -> None:
        """Let go once; the last one frees the folder."""
        lock, count = self._held.pop(folder)
        if count > 1:
            self._held[folder] = (lock, count - 1)
        else:
            lock.release()
