"""Async twins of sync methods: logic is written once and runs in threads, those that read apart from the others.

What writes may wait, for a model that judges or for its turn. In threads of their own, reads wait for none of that.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial, update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar

from langchain_core.runnables import run_in_executor

from la_agents.forks import renew_in_child

__all__ = ["async_reading_twin", "async_twin"]

SelfT = TypeVar("SelfT")
P = ParamSpec("P")
R = TypeVar("R")

_NUM_THREADS = {"reading": 8, "writing": 32}


@cache
def _pool(kind: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_NUM_THREADS[kind], thread_name_prefix=f"la-agents-{kind}")


renew_in_child(_pool.cache_clear)  # a fork has no threads


def async_twin(
    method: Callable[Concatenate[SelfT, P], R],
) -> Callable[Concatenate[SelfT, P], Coroutine[Any, Any, R]]:
    """Return the method as a coroutine function with the same arguments, for `aadd = async_twin(add)`."""
    return _twin(method, "writing")


def async_reading_twin(
    method: Callable[Concatenate[SelfT, P], R],
) -> Callable[Concatenate[SelfT, P], Coroutine[Any, Any, R]]:
    """Return a method that waits for nobody as a coroutine function, for `aget = async_reading_twin(get)`."""
    return _twin(method, "reading")


def _twin(
    method: Callable[Concatenate[SelfT, P], R], kind: str
) -> Callable[Concatenate[SelfT, P], Coroutine[Any, Any, R]]:
    name = method.__name__

    async def twin(self: SelfT, /, *args: P.args, **kwargs: P.kwargs) -> R:
        bound: Callable[..., R] = getattr(self, name)  # so that a subclass that overrides the one has both
        call = partial(copy_context().run, bound, *args, **kwargs)
        return await run_in_executor(_pool(kind), call)

    update_wrapper(twin, method)
    twin.__name__ = f"a{name.rstrip('_')}"
    twin.__qualname__ = method.__qualname__.replace(name, twin.__name__)
    twin.__doc__ = f"Do what `{name}` does, without blocking the event loop."
    return twin
