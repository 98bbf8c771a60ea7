"""Async twins of sync methods: logic is written once and runs in LangChain's executor."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar

from langchain_core.runnables import run_in_executor

__all__ = ["async_twin"]

SelfT = TypeVar("SelfT")
P = ParamSpec("P")
R = TypeVar("R")


def async_twin(
    method: Callable[Concatenate[SelfT, P], R],
) -> Callable[Concatenate[SelfT, P], Coroutine[Any, Any, R]]:
    """Return the method as a coroutine function with the same arguments, for `aget = async_twin(get)`."""
    name = method.__name__

    async def twin(self: SelfT, /, *args: P.args, **kwargs: P.kwargs) -> R:
        bound: Callable[..., R] = getattr(self, name)  # so that a subclass that overrides the one has both
        return await run_in_executor(None, bound, *args, **kwargs)

    update_wrapper(twin, method)
    twin.__name__ = f"a{name.rstrip('_')}"
    twin.__qualname__ = method.__qualname__.replace(name, twin.__name__)
    twin.__doc__ = f"Do what `{name}` does, without blocking the event loop."
    return twin
