"""Preferences out of conversations and feedback: who proposes them, who stores them, and when.

Importing this package does nothing but make its names known; what a name needs is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from la_agents.learning.background import BackgroundLearner
    from la_agents.learning.chat_extraction import ChatModelExtractor
    from la_agents.learning.feedback import FeedbackRecorder
    from la_agents.learning.learner import PreferenceLearner
    from la_agents.learning.proposal import PreferenceExtractor, Proposal
    from la_agents.learning.rules import RuleExtractor

__all__ = [
    "BackgroundLearner",
    "ChatModelExtractor",
    "FeedbackRecorder",
    "PreferenceExtractor",
    "PreferenceLearner",
    "Proposal",
    "RuleExtractor",
]

_HOME = {
    "BackgroundLearner": "background",
    "ChatModelExtractor": "chat_extraction",
    "FeedbackRecorder": "feedback",
    "PreferenceExtractor": "proposal",
    "PreferenceLearner": "learner",
    "Proposal": "proposal",
    "RuleExtractor": "rules",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
