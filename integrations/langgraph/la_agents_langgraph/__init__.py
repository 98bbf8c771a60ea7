"""la_agents for LangGraph: middleware that gives agents their user's preferences, and a `BaseStore` on Chroma.

Importing this package does nothing but make its names known; what a name needs is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from la_agents.lazy_names import names_of

if TYPE_CHECKING:
    from la_agents_langgraph.middleware import PreferenceMiddleware
    from la_agents_langgraph.store import ChromaStore

__all__ = ["ChromaStore", "PreferenceMiddleware"]

__version__ = "0.1.0"

__getattr__, __dir__ = names_of(__name__, {"ChromaStore": "store", "PreferenceMiddleware": "middleware"})
