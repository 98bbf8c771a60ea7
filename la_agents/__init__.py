"""Personalisation of language models at decoding time, inside LangChain.

Importing this package does nothing but make its names known; what a name needs is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from la_agents.lazy_names import names_of

if TYPE_CHECKING:
    from la_agents.chat_models import ChatLinearAlignment
    from la_agents.llms import LinearAlignmentLLM
    from la_agents.preferences.preference import Preference
    from la_agents.preferences.store import PreferenceStore
    from la_agents.principles import Principle
    from la_agents.report.report import AlignmentReport
    from la_agents.retrievers import PreferenceRetriever
    from la_agents.system_prompt import preferences_prompt

__all__ = [
    "AlignmentReport",
    "ChatLinearAlignment",
    "LinearAlignmentLLM",
    "Preference",
    "PreferenceRetriever",
    "PreferenceStore",
    "Principle",
    "preferences_prompt",
]

__version__ = "0.1.0"

__getattr__, __dir__ = names_of(
    __name__,
    {
        "AlignmentReport": "report.report",
        "ChatLinearAlignment": "chat_models",
        "LinearAlignmentLLM": "llms",
        "Preference": "preferences.preference",
        "PreferenceRetriever": "retrievers",
        "PreferenceStore": "preferences.store",
        "Principle": "principles",
        "preferences_prompt": "system_prompt",
    },
)
