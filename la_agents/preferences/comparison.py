"""How two preferences of one user relate, by rules and a similarity, without a language model. Pure functions."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from la_agents.preferences.lexicon import ANTONYMS
from la_agents.preferences.statements import Statement, letters, read_statement

__all__ = ["LEAST_SIMILARITY", "Relation", "relate"]

Relation = Literal["same", "restated", "contradicts", "independent"]
"""`same`: said again. `restated`: the same wish in other words. `contradicts`: both cannot hold. Else `independent`."""

LEAST_SIMILARITY = 0.40
"""Below this cosine two preferences are independent unless they fill the same slot: the reach of the embedding."""

# Chosen on the tuning half of tests/data/preference_pairs.jsonl and on all pairs of PrefEval's preferences.
_RESTATED_SIMILARITY = 0.60
_SUBSTITUTED_SIMILARITY = 0.75
_RESTATED_OVERLAP = 0.60
_PARAPHRASE_SIMILARITY = 0.84
_CONTRARY_OVERLAP = 0.60


def relate(old: str, new: str, similarity: float) -> tuple[Relation, str]:
    """Return how the new text relates to the old one, and why, in words.

    Args:
        old: The text that is stored.
        new: The text to add.
        similarity: Cosine of their embeddings.
    """
    if letters(old) == letters(new):
        return "same", "the same words"
    a, b = read_statement(old), read_statement(new)
    if not (a.is_read and b.is_read):
        return "independent", "other words, in a language that the rules do not read"
    if a.whose != b.whose:
        return "independent", "about different people"
    if a.slot and b.slot and a.slot.name == b.slot.name:
        return _by_slot(a, b)
    if similarity < LEAST_SIMILARITY:
        return "independent", f"similarity {similarity:.2f}"
    return _by_subject(a, b, similarity)


def _by_slot(a: Statement, b: Statement) -> tuple[Relation, str]:
    assert a.slot
    assert b.slot
    if a.slot.value == b.slot.value:
        relation: Relation = "restated" if a.polarity == b.polarity else "contradicts"
        return relation, f"both say the {a.slot.name}"
    return "contradicts", f"another {a.slot.name}"


def _by_subject(a: Statement, b: Statement, similarity: float) -> tuple[Relation, str]:
    if a.over and b.over and a.over != b.over:
        swapped = a.over == b.over[::-1]
        return ("contradicts", "the choice turned round") if swapped else ("independent", "another choice")
    opposed = _opposed(a, b)
    if opposed and a.polarity == b.polarity:
        return "contradicts", f"{opposed[0]} against {opposed[1]}"
    overlap = _overlap(a.subject, b.subject)
    if a.numbers != b.numbers:
        if a.numbers and b.numbers and a.subject == b.subject:
            return "contradicts", "other numbers"
        return "independent", "other numbers"
    if a.polarity != b.polarity:
        affirmed, denied = (a, b) if a.polarity > 0 else (b, a)
        if denied.occasions - affirmed.occasions:
            return "independent", "the opposite on some occasions only"
        if not denied.occasions:  # whatever is denied altogether is denied on every occasion
            a, b = (replace(each, subject=each.subject - affirmed.occasions) for each in (a, b))
            overlap = _overlap(a.subject, b.subject)
        if overlap >= _CONTRARY_OVERLAP and not _substituted(a.subject, b.subject):
            return "contradicts", "the opposite about the same thing"
        return "independent", "about different things"
    substituted = _substituted(a.subject, b.subject)
    if overlap >= _RESTATED_OVERLAP and similarity >= (
        _SUBSTITUTED_SIMILARITY if substituted else _RESTATED_SIMILARITY
    ):
        return "restated", f"the same about the same thing, similarity {similarity:.2f}"
    if similarity >= _PARAPHRASE_SIMILARITY and not substituted:
        return "restated", f"similarity {similarity:.2f}"
    return "independent", "about different things"


def _overlap(a: frozenset[str], b: frozenset[str]) -> float:
    """Jaccard index of the subjects."""
    return len(a & b) / len(a | b) if a | b else 0.0


def _substituted(a: frozenset[str], b: frozenset[str]) -> bool:
    """Whether each says a word that the other does not: most often another thing, not another word for it."""
    return bool(a - b) and bool(b - a)


def _opposed(a: Statement, b: Statement) -> tuple[str, str] | None:
    """The two words that exclude each other, if that is all in which the subjects differ."""
    for one in sorted(a.subject - b.subject):
        for other in sorted(b.subject - a.subject):
            rest = a.subject - {one}, b.subject - {other}
            if frozenset((one, other)) in ANTONYMS and (not any(rest) or _overlap(*rest) >= 0.5):
                return one, other
    return None
