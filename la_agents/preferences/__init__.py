"""The preference memory on Chroma: what is stored, how it changes over its life, and how it is found.

Importing this package does nothing but make its names known; what a name needs is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from la_agents.lazy_names import names_of

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

__getattr__, __dir__ = names_of(
    __name__,
    {
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
    },
)
