"""The preference memory on Chroma: what is stored, how it changes over its life, and how it is found.

Importing this package does nothing but make its names known; what a name needs is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from la_agents.lazy_names import names_of

if TYPE_CHECKING:
    from la_agents.preferences.consolidation.chat import ChatModelConsolidator
    from la_agents.preferences.consolidation.plan import Consolidator, Judgement, KnownPreference, RuleConsolidator
    from la_agents.preferences.history import Change
    from la_agents.preferences.layers import SharedPreferences
    from la_agents.preferences.limits import Limits
    from la_agents.preferences.preference import Preference, ScoredPreference
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
        "ChatModelConsolidator": "consolidation.chat",
        "Consolidator": "consolidation.plan",
        "Judgement": "consolidation.plan",
        "KnownPreference": "consolidation.plan",
        "Limits": "limits",
        "Preference": "preference",
        "PreferenceStore": "store",
        "RuleConsolidator": "consolidation.plan",
        "ScoredPreference": "preference",
        "SharedPreferences": "layers",
    },
)
