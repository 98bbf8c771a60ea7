"""Generation: the caller's end of one request: a stream of text, then a completion; safe to use from any thread."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

from la_agents.errors import EngineClosedError
from la_agents.requests.records import Chunk, Completion

__all__ = ["Event", "Generation"]


Event = Chunk | Completion | BaseException


class Generation:
    """A request under way.

    Iterate for `Chunk`s, with `for` or `async for`, then read `completion`; or read `completion` at once. To stop
    early, call `cancel()`, or the engine generates to the end.
    """

    def __init__(self, cancel: Callable[[], None]) -> None:
        self.cancel = cancel
        self._pid = os.getpid()
        self._events: deque[Event] = deque()
        self._arrived = threading.Condition()
        self._wake_loop: Callable[[], object] | None = None
        self._completion: Completion | None = None

    def post(self, event: Event) -> None:
        """Deliver an event; called by the engine's thread alone."""
        with self._arrived:
            self._events.append(event)
            self._arrived.notify_all()
            wake = self._wake_loop
        if wake is not None:
            # The caller's event loop may be closed by now.
            with contextlib.suppress(RuntimeError):
                wake()

    def __iter__(self) -> Iterator[Chunk]:
        """Chunks as they come; raises the request's error, if it fails."""
        while self._completion is None:
            self._check_process()
            with self._arrived:
                self._arrived.wait_for(lambda: self._events)
            yield from self._take()

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """The same without blocking the event loop, and without a thread a request."""
        self._check_process()
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        with self._arrived:
            self._wake_loop = functools.partial(loop.call_soon_threadsafe, arrived.set)
        while self._completion is None:
            arrived.clear()
            for chunk in self._take():
                yield chunk
            if self._completion is None:
                await arrived.wait()

    def _check_process(self) -> None:
        """Nothing arrives in a fork: the engine's thread is in the parent."""
        if self._completion is None and self._pid != os.getpid():
            msg = "Expected the process that submitted the request, got a fork of it; submit it anew here."
            raise EngineClosedError(msg)

    def _take(self) -> Iterator[Chunk]:
        """What has arrived; never waits. The last event stays, so that a second reader learns of it too."""
        while True:
            self._check_process()  # each time: the fork may have been made while the answer was read
            with self._arrived:
                event = self._events[0] if self._events else None
                if isinstance(event, Chunk):
                    self._events.popleft()
            if isinstance(event, BaseException):
                raise event
            if not isinstance(event, Chunk):
                self._completion = event
                return
            yield event

    @property
    def completion(self) -> Completion:
        """The finished answer; reads the stream to its end if that has not been done."""
        for _ in self:
            pass
        assert self._completion is not None
        return self._completion

    async def acompletion(self) -> Completion:
        """`completion` without blocking the event loop."""
        async for _ in self:
            pass
        assert self._completion is not None
        return self._completion
