"""What words are about: stems without function words. Pure, no model."""

from __future__ import annotations

from collections.abc import Iterable

from la_agents.preferences.lexicon import FILLER, FREQUENT, NEGATIONS, NEGATIVE, POSITIVE
from la_agents.preferences.thesaurus import SYNONYMS

__all__ = ["SMALL", "stem", "stems", "subject_of"]

SMALL = FREQUENT | POSITIVE | NEGATIVE | NEGATIONS | FILLER
"""Words that do not say what a preference is about."""


def subject_of(words: Iterable[str]) -> frozenset[str]:
    """The stems of the content words, without numbers."""
    return frozenset(stem(word) for word in words if word not in SMALL and not word.isdigit())


def stems(words: Iterable[str]) -> frozenset[str]:
    """The stems of all these words, small ones too."""
    return frozenset(stem(word) for word in words)


def stem(word: str) -> str:
    """The word without plural, -ing and -ed, by rule, and as the first of its synonyms."""
    if word in SYNONYMS:
        return SYNONYMS[word]
    cut = word
    for ending, least, put in (
        ("ies", 5, "y"),
        ("ing", 6, ""),
        ("ed", 6, ""),
        ("ly", 6, ""),
        ("es", 6, "e"),
        ("s", 4, ""),
    ):
        if word.endswith(ending) and len(word) >= least and not word.endswith("ss"):
            cut = word[: -len(ending)] + put
            break
    if len(cut) > 3 and cut[-1] == cut[-2] and cut[-1] not in "sl":
        cut = cut[:-1]
    cut = SYNONYMS.get(cut, cut)
    return cut[:-1] if len(cut) > 4 and cut.endswith("e") else cut
