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
    from la_agents.preferences.embedding.bundled import BundledEmbeddings, embeddings_identity
    from la_agents.preferences.embedding.multilingual import MultilingualEmbeddings
    from la_agents.preferences.history import Change
    from la_agents.preferences.limits import Limits
    from la_agents.preferences.preference import (
        MAX_TEXT_CHARS,
        Preference,
        PreferenceDraft,
        Scope,
        ScoredPreference,
        as_draft,
        utc_now,
    )
    from la_agents.preferences.shared import SharedPreferences
    from la_agents.preferences.storage.connection import Connection
    from la_agents.preferences.storage.handles import Handles
    from la_agents.preferences.store import DEFAULT_MIN_RELEVANCE, PreferenceStore
    from la_agents.preferences.suggestion import suggested_scope

__all__ = [
    "DEFAULT_MIN_RELEVANCE",
    "MAX_TEXT_CHARS",
    "BundledEmbeddings",
    "Change",
    "ChatModelConsolidator",
    "Conflict",
    "Connection",
    "Consolidator",
    "CoreConsolidator",
    "Handles",
    "Judgement",
    "KnownPreference",
    "Limits",
    "MultilingualEmbeddings",
    "Preference",
    "PreferenceDraft",
    "PreferenceStore",
    "Scope",
    "ScoredPreference",
    "SharedPreferences",
    "as_draft",
    "embeddings_identity",
    "suggested_scope",
    "utc_now",
]

__getattr__, __dir__ = names_of(
    __name__,
    {
        "BundledEmbeddings": "embedding.bundled",
        "Change": "history",
        "ChatModelConsolidator": "consolidation.chat",
        "Conflict": "consolidation.conflicts",
        "Connection": "storage.connection",
        "Consolidator": "consolidation.judging",
        "CoreConsolidator": "consolidation.judging",
        "DEFAULT_MIN_RELEVANCE": "store",
        "Handles": "storage.handles",
        "Judgement": "consolidation.judging",
        "KnownPreference": "consolidation.judging",
        "Limits": "limits",
        "MAX_TEXT_CHARS": "preference",
        "MultilingualEmbeddings": "embedding.multilingual",
        "Preference": "preference",
        "PreferenceDraft": "preference",
        "PreferenceStore": "store",
        "Scope": "preference",
        "ScoredPreference": "preference",
        "SharedPreferences": "shared",
        "as_draft": "preference",
        "embeddings_identity": "embedding.bundled",
        "suggested_scope": "suggestion",
        "utc_now": "preference",
    },
)
