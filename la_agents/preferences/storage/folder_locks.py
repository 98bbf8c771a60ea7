"""One process at a time on an embedded store: a lock file in its folder, held until the last store there is closed.

The operating system lets go of it when the process ends, however it ends.
"""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from la_agents.errors import StoreUnavailableError

__all__ = ["FolderLocks"]

_NAME = ".la-agents.lock"


class FolderLocks:
    """This process's locks, counted by folder. The caller lets one thread in at a time."""

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
            lock = FileLock(folder / _NAME, timeout=0, thread_local=False)  # whichever thread closes the store
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
