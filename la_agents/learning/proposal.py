"""Proposal: a preference extracted from a conversation, with the user's words as evidence."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from langchain_core.messages import BaseMessage

from la_agents.errors import ConfigurationError
from la_agents.preferences.preference import PreferenceDraft, Scope, Source, validated

__all__ = ["PreferenceExtractor", "Proposal", "is_said"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What may become a preference.

    Attributes:
        text: The preference in natural language.
        evidence: The user's own words that it comes from, as they stand in a human message.
        scope: Whether it applies to every call or to similar queries only.
        weight: Its share in the alignment.
        confidence: How sure the extractor is, in [0, 1].
        source: "inferred"; "explicit" only where an extractor of your own reads what users entered as preferences.
        message_id: The id of that message, if it has one.
    """

    text: str
    evidence: str
    scope: Scope = "relevant"
    weight: float = 1.0
    confidence: float = 1.0
    source: Source = "inferred"
    message_id: str | None = None

    def __post_init__(self) -> None:
        if not self.evidence.strip():
            msg = "Expected the words of the user that a proposal comes from, got none; leave the proposal out instead."
            raise ConfigurationError(msg)

    def draft(self) -> PreferenceDraft:
        """The preference to store; where it comes from goes into its metadata.

        Raises:
            InvalidPreferenceError: a value is out of its limits.
        """
        origin = {"evidence": self.evidence, **({"message_id": self.message_id} if self.message_id else {})}
        values = {
            "text": self.text,
            "scope": self.scope,
            "weight": self.weight,
            "confidence": self.confidence,
            "source": self.source,
            "metadata": origin,
        }
        return validated(PreferenceDraft, values)


def is_said(evidence: str, messages: Sequence[BaseMessage]) -> BaseMessage | None:
    """The first human message that contains these words, ignoring case and spacing; None if there is none."""
    wanted = _plain(evidence)
    return next((m for m in messages if m.type == "human" and wanted and wanted in _plain(str(m.text))), None)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).replace("’", "'").casefold().split())


@runtime_checkable
class PreferenceExtractor(Protocol):
    """Reads a conversation and proposes what its user prefers."""

    def extract(self, messages: Sequence[BaseMessage]) -> Sequence[Proposal]:
        """Return a proposal for each lasting preference that a human message states, in their order.

        Args:
            messages: The conversation, the oldest first; only human messages can be evidence.
        """
