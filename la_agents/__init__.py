"""Personalisation of language models at decoding time, inside LangChain.

Importing this package does nothing but make its names known; what a name needs is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from la_agents.chat_models import ChatLinearAlignment
    from la_agents.llms import LinearAlignmentLLM
    from la_agents.preferences.schema import Preference
    from la_agents.preferences.store import PreferenceStore
    from la_agents.principles import Principle
    from la_agents.report import AlignmentReport
    from la_agents.retrievers import PreferenceRetriever

__all__ = [
    "AlignmentReport",
    "ChatLinearAlignment",
    "LinearAlignmentLLM",
    "Preference",
    "PreferenceRetriever",
    "PreferenceStore",
    "Principle",
]

_HOME = {
    "AlignmentReport": "la_agents.report",
    "ChatLinearAlignment": "la_agents.chat_models",
    "LinearAlignmentLLM": "la_agents.llms",
    "Preference": "la_agents.preferences.schema",
    "PreferenceRetriever": "la_agents.retrievers",
    "PreferenceStore": "la_agents.preferences.store",
    "Principle": "la_agents.principles",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module 'la_agents' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
