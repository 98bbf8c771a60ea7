"""How much of what users say about themselves an extractor finds, and how much it makes up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from la_agents.errors import ConfigurationError
from la_agents.learning.languages import LANGUAGES, content_of, polarity_of
from la_agents.learning.proposal import PreferenceExtractor, Proposal

__all__ = ["Conversation", "LearningScores", "read_conversations", "score_extractor"]

_LEAST_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation and what its user states in it, by human judgement: (text, scope) of each."""

    messages: Sequence[BaseMessage]
    gold: Sequence[tuple[str, str]]
    split: str
    kind: str


@dataclass(frozen=True, slots=True)
class LearningScores:
    """What was found, against the gold.

    Attributes:
        counts: Numbers of conversations, silent ones, gold preferences, proposals, matches and matches in scope.
    """

    counts: Counter[str]

    def report(self) -> dict[str, float]:
        """All figures by name. `false_alarms`: the share of conversations without any in which one was found."""
        c = self.counts
        return {
            "num_conversations": c["conversations"],
            "num_preferences": c["gold"],
            "num_proposed": c["proposed"],
            "precision": _share(c["matched"], c["proposed"]),
            "recall": _share(c["matched"], c["gold"]),
            "scope_accuracy": _share(c["scoped"], c["matched"]),
            "false_alarms": c["alarms"] / c["silent"] if c["silent"] else 0.0,
        }


def read_conversations(path: Path) -> list[Conversation]:
    """Read JSON lines of `messages` ([role, text] each), `preferences` (`text`, `scope`), `split` and `kind`.

    Raises:
        ConfigurationError: the file is missing or not of that form.
    """
    try:
        return [_conversation(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError, KeyError) as error:
        msg = f"Expected conversations with their preferences in {path}, got {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error


def score_extractor(conversations: Sequence[Conversation], extractor: PreferenceExtractor) -> LearningScores:
    """Let the extractor read every conversation by itself."""
    counts: Counter[str] = Counter()
    for conversation in conversations:
        proposals = extractor.extract(conversation.messages)
        matched = _matches(proposals, conversation.gold)
        counts["conversations"] += 1
        counts["gold"] += len(conversation.gold)
        counts["proposed"] += len(proposals)
        counts["matched"] += len(matched)
        counts["scoped"] += sum(proposal.scope == scope for proposal, scope in matched)
        if not conversation.gold:
            counts["silent"] += 1
            counts["alarms"] += bool(proposals)
    return LearningScores(counts)


def _matches(proposals: Sequence[Proposal], gold: Sequence[tuple[str, str]]) -> list[tuple[Proposal, str]]:
    """Each gold preference with the proposal that says it: the same polarity about the same, one to one."""
    free, found = [*proposals], []
    for text, scope in gold:
        best = max(free, key=lambda proposal: _likeness(proposal.text, text), default=None)
        if best is not None and _likeness(best.text, text) >= _LEAST_OVERLAP:
            found.append((best, scope))
            free.remove(best)
    return found


def _likeness(one: str, other: str) -> float:
    """Jaccard index of what they are about; 0 if one likes what the other does not."""
    english, (a, b) = LANGUAGES["en"], (one.casefold(), other.casefold())
    if polarity_of(a, english) != polarity_of(b, english):
        return 0.0
    about, also = content_of(a, english), content_of(b, english)
    return len(about & also) / len(about | also) if about | also else float(a == b)


def _conversation(line: dict[str, Any]) -> Conversation:
    kinds = {"human": HumanMessage, "ai": AIMessage}
    messages = [kinds[role](text) for role, text in line["messages"]]
    gold = [(each["text"], each["scope"]) for each in line["preferences"]]
    return Conversation(messages, gold, line["split"], line["kind"])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
