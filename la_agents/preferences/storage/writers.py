"""Writers: one at a time a user, over all stores of this process.

Changing a record reads it first, and two changes that read the same would lose one. Several processes against one
server are not kept apart; see the how-to for a server.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from la_agents.errors import ConfigurationError
from la_agents.preferences.storage.records import user_digest

__all__ = ["everybody", "writer"]

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
