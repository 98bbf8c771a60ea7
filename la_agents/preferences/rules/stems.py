"""What words are about: stems without function words. Pure, no model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from la_agents.preferences.rules.lexicon import FILLER, FREQUENT, NEGATIONS, NEGATIVE, POSITIVE
from la_agents.preferences.rules.thesaurus import SYNONYMS
from la_agents.preferences.rules.verbs import AUXILIARIES

__all__ = ["SMALL", "forms_of", "stem", "stems", "subject_of"]

SMALL = FREQUENT | POSITIVE | NEGATIVE | NEGATIONS | FILLER
"""Words that do not say what a preference is about."""

_BEFORE_VERBS = AUXILIARIES | NEGATIONS - {"no"} | {"", "and", "only"}


def subject_of(words: Iterable[str]) -> frozenset[str]:
    """The stems of the content words, without numbers."""
    return frozenset(stem(word) for word in words if word not in SMALL and not word.isdigit())


def forms_of(words: Sequence[str]) -> frozenset[tuple[str, str]]:
    """The stems of the content words with their forms: "trains" are not "training", "grilled" is not "grilling".

    Verbs without an ending, which can stand for either, and words that have synonyms are left out.
    """
    forms = set[tuple[str, str]]()
    for before, word in itertools.pairwise(["", *words]):
        ending = next((ending for ending in ("ing", "ed") if word.endswith(ending) and len(word) > 5), "noun")
        if word not in SMALL and word not in SYNONYMS and (ending != "noun" or before not in _BEFORE_VERBS):
            forms.add((stem(word), ending))
    return frozenset(forms)


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
