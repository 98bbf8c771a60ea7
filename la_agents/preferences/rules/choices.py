"""One thing rather than another: "tea over coffee", "tabs, not spaces", "day then month". Pure, no model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from la_agents.preferences.rules.stems import stems, subject_of
from la_agents.preferences.rules.verbs import AUXILIARIES, CONSUMING

__all__ = ["Choice", "read_choice", "read_order"]

_FORWARD = tuple(
    re.compile(pattern)
    for pattern in (
        r"^(.+) but (?:i )?(?:not|no|never|dislike|hate|avoid) (.+)$",
        r"^(.+) (?:instead of|in place of|rather than) (.+)$",
        r"^.*?\b(?:prefer|choose) (?!to )(.+)(?: over| than|(?<!ing) to| to(?= \w+ing)) (.+)$",
        r"^.*?\b(?:like|love|drink|eat|take) (.+) (?:over|than) (.+)$",
    )
)
_CONSUMING = stems(CONSUMING)
_ORDER = re.compile(r"^(.+) (before|after|then|followed by) (.+)$")


@dataclass(frozen=True, slots=True)
class Choice:
    """What is chosen and what it is chosen over, or what comes first and what comes after it, as stems.

    Attributes:
        chosen: The first.
        other: The second.
        denies: Whether the text has a negation that only turns down the second: "tabs, not spaces".
        word: What puts one before the other: "before lunch" and "after lunch" are two times, not one turned round.
    """

    chosen: frozenset[str]
    other: frozenset[str]
    denies: bool = False
    word: str = ""

    def turns_round(self, choice: Choice) -> bool:
        """Whether the two say the opposite: what one chooses the other does not, and nothing else differs."""
        swapped = self.other <= choice.chosen and choice.other <= self.chosen and self.other != choice.other
        if self.word != choice.word or not swapped:
            return False
        return not ((self.chosen - choice.other) ^ (choice.chosen - self.other)) - _CONSUMING

    def agrees(self, choice: Choice) -> bool:
        """Whether the two say the same."""
        if self.word != choice.word:
            return False
        return self.other == choice.other and not (self.chosen ^ choice.chosen) - _CONSUMING


def read_choice(words: Sequence[str]) -> Choice | None:
    """What the text wants rather than what, if it says so."""
    plain = " ".join(words).replace(" rather than ", " than ").replace(" but not ", " but no ")
    for pattern in _FORWARD:
        if found := pattern.match(plain):
            denies = pattern is _FORWARD[0]
            return _choice(found[1].split(), found[2].split(), denies)
    for place, word in enumerate(words[1:], 1):
        if word == "not" and words[place - 1] not in AUXILIARIES:
            return _choice(words[:place], words[place + 1 :], denies=True)
    return None


def read_order(words: Sequence[str]) -> Choice | None:
    """What the text puts before what, if it says so."""
    found = _ORDER.match(" ".join(words))
    if not found:
        return None
    first, last = (found[3], found[1]) if found[2] == "after" else (found[1], found[3])
    return _choice(first.split(), last.split(), word=found[2])


def _choice(chosen: Sequence[str], other: Sequence[str], denies: bool = False, word: str = "") -> Choice | None:
    first, second = subject_of(chosen), subject_of(other)
    return Choice(first, second, denies, word) if first and second else None
