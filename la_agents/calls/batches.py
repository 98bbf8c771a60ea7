"""Batches: the inputs of one call that share the engine's queue, wait for room in it, and end together if one fails."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig, run_in_executor
from langchain_core.runnables.config import get_config_list, merge_configs

from la_agents.errors import EngineBusyError, GenerationError

if TYPE_CHECKING:
    from la_agents.requests import Generation

__all__ = ["MAX_IN_FLIGHT", "amember", "asubmit", "bounded", "member", "submit", "together"]

MAX_IN_FLIGHT = 64
"""Inputs of one batch that are with the engine at once: the rows that it runs side by side, by default."""

_PAUSE = 0.02  # seconds between two looks whether a full queue has room again


class _Batch:
    """Inputs that were given together, and their requests under way."""

    def __init__(self, *, fail: bool) -> None:
        self.turns = asyncio.Semaphore(MAX_IN_FLIGHT)
        self.error: BaseException | None = None
        self._fail = fail
        self._generations: weakref.WeakSet[Generation] = weakref.WeakSet()
        self._lock = threading.Lock()

    def add(self, generation: Generation) -> None:
        with self._lock:
            self._generations.add(generation)
            failed = self.error is not None
        if failed:
            generation.cancel()

    def check(self) -> None:
        if self.error is not None:
            msg = "Expected every input of the batch to be answered, one failed and ended the others; see its error."
            raise GenerationError(msg)

    def fail(self, error: BaseException) -> None:
        with self._lock:
            if not self._fail or self.error is not None:
                return
            self.error = error
            under_way = list(self._generations)
        for generation in under_way:
            generation.cancel()


_current: ContextVar[_Batch | None] = ContextVar("la_agents_batch", default=None)
"""Threads and tasks that LangChain starts for a batch inherit it."""


@contextmanager
def together(num_inputs: int, *, fail: bool = True) -> Iterator[None]:
    """What is asked inside is one batch; a batch inside a batch is part of it.

    Args:
        num_inputs: How many there are; one alone does not wait for room in a full queue.
        fail: Whether one that fails ends the others. Its error is then the one that is raised.
    """
    if num_inputs < 2 or _current.get() is not None:
        yield
        return
    batch = _Batch(fail=fail)
    token = _current.set(batch)
    try:
        yield
    except BaseException as error:
        batch.fail(error)
        if isinstance(error, GenerationError) and batch.error is not None and batch.error is not error:
            raise batch.error from None
        raise
    finally:
        _current.reset(token)


@contextmanager
def member() -> Iterator[None]:
    """One input, of a batch if there is one: what it raises ends the others."""
    batch = _current.get()
    try:
        yield
    except BaseException as error:
        if batch is not None:
            batch.fail(error)
        raise


@asynccontextmanager
async def amember() -> AsyncIterator[None]:
    """`member` that waits for its turn: tasks cost nothing, so LangChain starts them all at once."""
    batch = _current.get()
    if batch is None:
        yield
        return
    with member():
        async with batch.turns:
            batch.check()
            yield


def submit(queue: Callable[[], Generation]) -> Generation:
    """Call `queue`, which submits a request; in a batch, wait while the engine's queue is full.

    Raises:
        EngineBusyError: the queue is full, and this is no batch.
    """
    while True:
        batch = _current.get()
        try:
            return _queue(queue, batch)
        except EngineBusyError:
            if batch is None:
                raise
            time.sleep(_PAUSE)


async def asubmit(queue: Callable[[], Generation]) -> Generation:
    """`submit` for a task: `queue` may take its time, so it runs in a thread, and a task that is cancelled meanwhile
    leaves nothing decoding."""
    while True:
        batch = _current.get()
        try:
            return await _abandonable(lambda: _queue(queue, batch))  # noqa: B023  # awaited within the round
        except EngineBusyError:
            if batch is None:
                raise
            await asyncio.sleep(_PAUSE)


def _queue(queue: Callable[[], Generation], batch: _Batch | None) -> Generation:
    if batch is None:
        return queue()
    batch.check()
    generation = queue()
    batch.add(generation)
    return generation


async def _abandonable(queue: Callable[[], Generation]) -> Generation:
    queued: list[Generation] = []
    abandoned = False

    def run() -> None:
        if not abandoned:
            queued.append(queue())
        if abandoned:  # set before the task reads the list, read here after appending to it: one of the two cancels
            for generation in queued:
                generation.cancel()

    try:
        await run_in_executor(None, run)
    except asyncio.CancelledError:
        abandoned = True
        for generation in queued:
            generation.cancel()
        raise
    return queued[0]


def bounded(config: RunnableConfig | list[RunnableConfig] | Any | None, num_inputs: int) -> list[RunnableConfig]:
    """A config for each input, with a bound on the threads or tasks at once where the caller sets none."""
    limit = RunnableConfig(max_concurrency=min(max(num_inputs, 1), MAX_IN_FLIGHT))
    return [merge_configs(limit, each) for each in get_config_list(config, num_inputs)]
