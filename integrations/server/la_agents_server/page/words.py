"""Words for numbers: what the page says instead of weights and nats."""

from __future__ import annotations

from la_agents_server.answer_log import Use

__all__ = ["WEIGHTS", "moved_in_words", "nearest_weight"]

WEIGHTS = ((0.0, "off"), (0.5, "a little"), (1.0, "normal"), (2.0, "strong"), (4.0, "very strong"))
"""The slider's places."""


def nearest_weight(weight: float) -> int:
    """The slider's place for a weight."""
    return min(range(len(WEIGHTS)), key=lambda place: abs(WEIGHTS[place][0] - weight))


def moved_in_words(use: Use) -> str:
    """How far a preference moved the answers that used it; by the nats per token that it gave their tokens."""
    for limit, words in ((0.02, "hardly moved them"), (0.2, "moved them a little"), (0.8, "moved them noticeably")):
        if use.moved < limit:
            return words
    return "moved them strongly"
