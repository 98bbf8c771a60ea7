"""Forks: what a child process made by `os.fork` renews, so that it can load models of its own.

A fork copies locks that a thread of the parent may hold, registries of what the parent runs, and thread pools without
their threads: using or destroying one of those waits for ever. OpenMP's pool, with which PyTorch computes, is one; each
ONNX Runtime session has another. A child therefore drops its references without destroying what they refer to, and
computes with PyTorch in one thread. What a library does to its memory in the middle of a call is copied, too, so a fork
waits until engines stand between two steps.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import TypeVar

__all__ = ["Undivided", "owning_threads", "renew_in_child"]

_Owner = TypeVar("_Owner")
_owners: weakref.WeakSet[object] = weakref.WeakSet()
_undivided: weakref.WeakSet[Undivided] = weakref.WeakSet()
_making = threading.Lock()
_here = threading.local()  # what this thread, which is forking, has paused
_PATIENCE = 10.0
"""Seconds that a fork waits for work that is under way."""


def renew_in_child(renew: Callable[[], object]) -> None:
    """Call `renew` in every child that this process forks, before anything else runs there."""
    if hasattr(os, "register_at_fork"):  # Windows has no forks
        os.register_at_fork(after_in_child=renew)


def owning_threads(owner: _Owner) -> _Owner:
    """Register an object whose destructor joins its threads: it is never destroyed in a child, which lacks them."""
    _owners.add(owner)
    return owner


class Undivided:
    """A context for one thread's work, which no fork by another thread falls into."""

    def __init__(self) -> None:
        self._door = threading.Lock()  # held by a fork: a thread that works on and on would never let it in otherwise
        self._room = threading.Lock()
        self._worker: int | None = None
        with _making:
            _undivided.add(self)

    def __enter__(self) -> None:
        with self._door:
            self._room.acquire()
        self._worker = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._worker = None
        self._room.release()

    def pause(self) -> bool:
        """Wait for the work that is under way and let none begin; whether it ended in time."""
        if self._worker == threading.get_ident():
            return False  # this thread's own work forks
        if not self._door.acquire(timeout=_PATIENCE):
            return False
        if self._room.acquire(timeout=_PATIENCE):
            return True
        self._door.release()
        return False

    def resume(self) -> None:
        self._room.release()
        self._door.release()


def _pause() -> None:
    with _making:
        known = list(_undivided)
    _here.paused = [undivided for undivided in known if undivided.pause()]


def _resume() -> None:
    for undivided in _here.paused:
        undivided.resume()
    _here.paused = []


def _forget_undivided() -> None:
    """In a child: their threads are not there, nor is one that was making another."""
    global _making
    _making = threading.Lock()
    _undivided.clear()


def _keep_owners() -> None:
    for owner in list(_owners):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))
    _owners.clear()


def _compute_in_one_thread() -> None:
    torch = sys.modules.get("torch")  # imported later, it starts with a pool of the child's own
    if torch is not None:
        torch.set_num_threads(1)


def _skip_destructors_at_exit() -> None:
    """Exit without ONNX Runtime's destructors, which would wait for a thread that only the parent has."""
    if "onnxruntime" in sys.modules and sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "on_exit"):  # glibc: calls _exit(status, NULL) before what was registered earlier
            libc.on_exit(ctypes.cast(libc._exit, ctypes.c_void_p), None)


renew_in_child(_keep_owners)
renew_in_child(_skip_destructors_at_exit)
renew_in_child(_compute_in_one_thread)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_pause, after_in_parent=_resume, after_in_child=_resume)
renew_in_child(_forget_undivided)
