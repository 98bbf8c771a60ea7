"""The preference memory on Chroma: what is stored, how it changes over its life, and how it is found.

Importing this package does nothing but make its names known; what a name needs is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from la_agents.preferences.chat_consolidation import ChatModelConsolidator
    from la_agents.preferences.consolidation import Consolidator, Judgement, KnownPreference, RuleConsolidator
    from la_agents.preferences.history import Change
    from la_agents.preferences.layers import SharedPreferences
    from la_agents.preferences.limits import Limits
    from la_agents.preferences.schema import Preference, ScoredPreference
    from la_agents.preferences.store import PreferenceStore

__all__ = [
    "Change",
    "ChatModelConsolidator",
    "Consolidator",
    "Judgement",
    "KnownPreference",
    "Limits",
    "Preference",
    "PreferenceStore",
    "RuleConsolidator",
    "ScoredPreference",
    "SharedPreferences",
]

_HOME = {
    "Change": "history",
    "ChatModelConsolidator": "chat_consolidation",
    "Consolidator": "consolidation",
    "Judgement": "consolidation",
    "KnownPreference": "consolidation",
    "Limits": "limits",
    "Preference": "schema",
    "PreferenceStore": "store",
    "RuleConsolidator": "consolidation",
    "ScoredPreference": "schema",
    "SharedPreferences": "layers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
