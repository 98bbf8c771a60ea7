"""Kernels: functions of whole rows that PyTorch's compiler makes a few passes of on a GPU.

There an operation on [batch, vocab] costs its reading and writing, and for one user its start: a step of thirty small
operations costs several times what one pass over the same numbers does. On a CPU the functions run as they are.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["compile_kernels", "kernel"]

_log = logging.getLogger(__name__)

_Function = TypeVar("_Function", bound=Callable[..., Any])

_WORTH_IT = 8192
"""Vocabulary below which rows are so short that the operations are started faster than they are compiled."""

_MAX_VARIANTS = 64
"""Compilations of a kernel: one row or several, one branch or several, of each vocabulary; PyTorch gives up at 8."""

_backends: dict[str, str] = {}
"""By which of PyTorch's backends kernels are compiled, by type of device; none until somebody asks."""


def compile_kernels(device_type: str = "cuda") -> None:
    """Compile kernels on such devices from now on, each when it is first called: a second or two, cached on disk."""
    _backends[device_type] = "inductor"


def kernel(function: _Function) -> _Function:
    """`function` of tensors, the first of them [batch, vocab]; numbers among its arguments hold for all rows.

    Where the compiler fails, which a missing one does in many ways, the function runs as it is, and the log says so.
    """
    state: dict[str, Any] = {"plain": False}

    @functools.wraps(function)
    def call(first: Tensor, *arguments: Any) -> Any:
        if torch.compiler.is_compiling() or not _backends:
            return function(first, *arguments)
        backend = _backends.get(first.device.type)
        if backend is None or state["plain"] or first.shape[-1] < _WORTH_IT:
            return function(first, *arguments)
        values = [first, *(_as_tensor(value, first) for value in arguments)]
        for value in values:
            if isinstance(value, Tensor):
                _mark(value, first.shape[-1])
        try:
            if backend not in state:
                state[backend] = torch.compile(function, fullgraph=True, backend=backend)
            with torch._dynamo.config.patch(recompile_limit=_MAX_VARIANTS):
                return state[backend](*values)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the function itself is right
            _log.warning("aligning is slower than it could be, since PyTorch's compiler failed: %s", error)
            state["plain"] = True
            return function(first, *arguments)

    return call  # type: ignore[return-value]  # the same function for its callers


def _as_tensor(value: Any, like: Tensor) -> Any:
    """A number as [batch]: compiled for one number, a function would be compiled anew for the next."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return torch.full(like.shape[:1], value, dtype=torch.float32, device=like.device)


def _mark(value: Tensor, vocab: int) -> None:
    """One row and any number of rows are a compilation each, and so with branches; the vocabulary is fixed."""
    for dimension, size in enumerate(value.shape):
        if 1 < size != vocab:
            torch._dynamo.maybe_mark_dynamic(value, dimension)
