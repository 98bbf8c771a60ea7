"""Preferences out of conversations and feedback: who proposes them, who stores them, and when.

Importing this package does nothing but make its names known; what a name needs is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from la_agents.lazy_names import names_of

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

__getattr__, __dir__ = names_of(
    __name__,
    {
        "BackgroundLearner": "background",
        "ChatModelExtractor": "chat_extraction",
        "FeedbackRecorder": "feedback",
        "PreferenceExtractor": "proposal",
        "PreferenceLearner": "learner",
        "Proposal": "proposal",
        "RuleExtractor": "rules",
    },
)
