"""Memory: pages that the C library keeps for later go back to the system."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["return_free_memory"]


def return_free_memory() -> None:
    """Return what is free inside the allocator's heaps; on Linux with glibc, elsewhere nothing happens.

    Prefixes that stay lie between keys and values that were freed, so the heaps cannot shrink by themselves: after a
    batch of long answers they would go on to hold several times what is in use.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
