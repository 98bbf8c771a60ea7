"""la_agents for LangGraph: middleware that gives agents their user's preferences, and a `BaseStore` on Chroma.

Importing this package does nothing but make its names known; what a name needs is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from la_agents_langgraph.middleware import PreferenceMiddleware
    from la_agents_langgraph.store import ChromaStore

__all__ = ["ChromaStore", "PreferenceMiddleware"]

_HOME = {"ChromaStore": "store", "PreferenceMiddleware": "middleware"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
