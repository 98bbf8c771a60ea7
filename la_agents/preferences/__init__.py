"""The preference memory on Chroma: what is stored, how it changes over its life, and how it is found.

Importing this package does nothing but make its names known; what a name needs is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from la_agents.lazy_names import names_of

if TYPE_CHECKING:
    from la_agents.preferences.consolidation.chat import ChatModelConsolidator
    from la_agents.preferences.consolidation.conflicts import Conflict
    from la_agents.preferences.consolidation.judging import (
        Consolidator,
        CoreConsolidator,
        Judgement,
        KnownPreference,
    )
    from la_agents.preferences.embedding.bundled import BundledEmbeddings
    from la_agents.preferences.history import Change
    from la_agents.preferences.limits import Limits
    from la_agents.preferences.preference import MAX_TEXT_CHARS, Preference, Scope, ScoredPreference
    from la_agents.preferences.shared import SharedPreferences
    from la_agents.preferences.store import PreferenceStore
    from la_agents.preferences.suggestion import suggested_scope

__all__ = [
    "MAX_TEXT_CHARS",
    "BundledEmbeddings",
    "Change",
    "ChatModelConsolidator",
    "Conflict",
    "Consolidator",
    "CoreConsolidator",
    "Judgement",
    "KnownPreference",
    "Limits",
    "Preference",
    "PreferenceStore",
    "Scope",
    "ScoredPreference",
    "SharedPreferences",
    "suggested_scope",
]

__getattr__, __dir__ = names_of(
    __name__,
    {
        "BundledEmbeddings": "embedding.bundled",
        "Change": "history",
        "ChatModelConsolidator": "consolidation.chat",
        "Conflict": "consolidation.conflicts",
        "Consolidator": "consolidation.judging",
        "Judgement": "consolidation.judging",
        "KnownPreference": "consolidation.judging",
        "Limits": "limits",
        "MAX_TEXT_CHARS": "preference",
        "Preference": "preference",
        "PreferenceStore": "store",
        "CoreConsolidator": "consolidation.judging",
        "Scope": "preference",
        "ScoredPreference": "preference",
        "SharedPreferences": "shared",
        "suggested_scope": "suggestion",
    },
)
