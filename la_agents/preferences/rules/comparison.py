"""How two preferences of one user relate, by rules and a similarity, without a language model. Pure functions.

Two are one, or exclude each other, only if they are about the same to the word: a narrower wish is another wish.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Literal

from la_agents.preferences.rules.lexicon import BEFORE_TIMES, LIGHT
from la_agents.preferences.rules.speakers import comparable
from la_agents.preferences.rules.statements import Statement, letters, read_statement
from la_agents.preferences.rules.stems import SMALL, stems
from la_agents.preferences.rules.thesaurus import EXCLUSIVE, POLES, POLES_OF_ANSWERS
from la_agents.preferences.rules.verbs import ANSWERING, CONSUMING

__all__ = ["LEAST_SIMILARITY", "Relation", "relate"]

Relation = Literal["same", "restated", "contradicts", "independent"]
"""`same`: said again. `restated`: the same wish in other words. `contradicts`: both cannot hold. Else `independent`."""

LEAST_SIMILARITY = 0.40
"""Below this cosine two preferences are independent unless they fill one slot or share a subject of two words."""

# Chosen on the tuning half of tests/data/preference_pairs.jsonl and on all pairs of PrefEval's preferences.
_RESTATED_SIMILARITY = 0.60

_LIGHT, _ANSWERING, _CONSUMING = stems(LIGHT), stems(ANSWERING), stems(CONSUMING)  # subjects are stems, too
_POLES, _OF_ANSWERS, _EXCLUSIVE = (
    frozenset(stems(pair) for pair in pairs) for pairs in (POLES, POLES_OF_ANSWERS, EXCLUSIVE)
)


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
    if a.slot and b.slot and a.slot.is_of(b.slot):
        return _by_slot(a, b)
    if similarity < LEAST_SIMILARITY and not (len(a.subject) > 1 and a.subject == b.subject):
        return "independent", f"similarity {similarity:.2f}"
    return _by_subject(a, b, similarity)


def _by_slot(a: Statement, b: Statement) -> tuple[Relation, str]:
    assert a.slot
    assert b.slot
    if a.slot.value == b.slot.value:
        relation: Relation = "restated" if a.polarity == b.polarity else "contradicts"
        return relation, f"both say the {a.slot.name}"
    if a.slot.excludes(b.slot):
        return "contradicts", f"another {a.slot.name}"
    return "independent", f"perhaps the same {a.slot.name}"


def _by_subject(a: Statement, b: Statement, similarity: float) -> tuple[Relation, str]:
    if _turned_round(a, b):
        return "contradicts", "the choice turned round"
    if not _same_choice(a, b):
        return "independent", "another choice"
    if a.hedges != b.hedges or "mixed" in a.hedges:
        return "independent", "one of them only in part"
    if a.polarity == b.polarity and (opposed := _opposed(a, b)):
        return "contradicts", f"{opposed[0]} against {opposed[1]}"
    if not a.over and not a.roles.fit(b.roles):
        return "independent", "in another role or at another time"
    if _in_other_forms(a.forms, b.forms) or _in_other_forms(a.cases, b.cases):
        return "independent", "about what is done and what it is done to"
    if not (comparable(a.stance, b.stance) or _is_and_has(a, b)):
        return "independent", "one likes, wants, has or can do what the other says something else of"
    if a.numbers != b.numbers:
        if _counts(a) and _counts(b) and a.polarity == b.polarity and _same_subject(a, b):
            return "contradicts", "other numbers"
        return "independent", "other numbers"
    return _by_polarity(a, b, similarity)


def _by_polarity(a: Statement, b: Statement, similarity: float) -> tuple[Relation, str]:
    if a.polarity != b.polarity:
        return _denying(a, b)
    if a.occasions != b.occasions or not _same_subject(a, b) or _exchanged(a, b) or _counted(a) != _counted(b):
        return "independent", "about different things"
    if similarity < _RESTATED_SIMILARITY:
        return "independent", f"similarity {similarity:.2f}"
    return "restated", f"the same about the same thing, similarity {similarity:.2f}"


def _denying(old: Statement, new: Statement) -> tuple[Relation, str]:
    affirmed, denied = (old, new) if old.polarity > 0 else (new, old)
    if denied.occasions - affirmed.occasions:
        return "independent", "the opposite on some occasions only"
    if ("without" in old.words) != ("without" in new.words) and not (_is_choosy(old) and _is_choosy(new)):
        return "independent", "with and without"
    if ("my" in old.words) != ("my" in new.words):
        return "independent", "of one's own and in general"
    # What is now denied altogether is denied on every occasion; what is now said of one occasion is an exception.
    only = frozenset[str]() if denied.occasions or denied is old else affirmed.occasions
    if _same_subject(old, new, without=only):
        return "contradicts", "the opposite about the same thing"
    return "independent", "about different things"


def _same_subject(a: Statement, b: Statement, without: frozenset[str] = frozenset()) -> bool:
    """Whether both are about the same, but for words that add nothing."""
    light = _light(a, b) | without
    return bool((a.subject & b.subject) - light) and not (a.subject ^ b.subject) - light


def _light(a: Statement, b: Statement) -> frozenset[str]:
    of_answers = _ANSWERING if "asks" in (a.stance, b.stance) else frozenset[str]()
    return _LIGHT | of_answers | (_CONSUMING if a.over and b.over else frozenset())


def _exchanged(a: Statement, b: Statement) -> bool:
    """Whether they only differ in which of the same words stands where: "dogs chase cats"."""
    if len(a.words) != len(b.words):
        return False
    moved = [pair for pair in zip(a.words, b.words, strict=True) if pair[0] != pair[1]]
    firsts, seconds = sorted(one for one, _ in moved), sorted(other for _, other in moved)
    return bool(moved) and firsts == seconds and not SMALL & {*firsts}


def _turned_round(a: Statement, b: Statement) -> bool:
    pairs = ((a.over, b.over), (a.order, b.order))
    return a.polarity == b.polarity and any(one and other and one.turns_round(other) for one, other in pairs)


def _same_choice(a: Statement, b: Statement) -> bool:
    """Whether neither chooses, or both the same; the order counts where both put something in order."""
    if (a.over is None) != (b.over is None) or (a.over and b.over and not a.over.agrees(b.over)):
        return False
    return not (a.order and b.order) or a.order.agrees(b.order)


def _opposed(a: Statement, b: Statement) -> tuple[str, str] | None:
    """The two words that exclude each other, if that is all in which the subjects differ."""
    if a.occasions or b.occasions:
        return None
    excluding = _EXCLUSIVE if "is" in (a.stance, b.stance) else frozenset[frozenset[str]]()
    if "prefers" in (a.stance, b.stance) and _is_choosy(a) and _is_choosy(b):
        excluding = _POLES | _EXCLUSIVE
    elif {a.stance, b.stance} <= {"asks", "is"} or (_ANSWERING & a.subject and _is_choosy(a) and _is_choosy(b)):
        excluding = _OF_ANSWERS | _EXCLUSIVE
    light = _light(a, b)
    for one in sorted(a.subject - b.subject):
        for other in sorted(b.subject - a.subject):
            rest = (a.subject ^ b.subject) - {one, other} - light
            if not rest and frozenset((one, other)) in excluding and a.numbers == b.numbers:
                return one, other
    return None


def _in_other_forms(one: Iterable[tuple[str, str]], other: Iterable[tuple[str, str]]) -> bool:
    """Whether one has only as "training" or "Apple" what the other has only as "trains" or "apple"."""
    mine, others = dict[str, set[str]](), dict[str, set[str]]()
    for forms, of in ((mine, one), (others, other)):
        for stem, form in of:
            forms.setdefault(stem, set()).add(form)
    return any(stem in others and not mine[stem] & others[stem] for stem in mine)


def _is_and_has(a: Statement, b: Statement) -> bool:
    """Who is allergic has an allergy; who is a teacher has none for that."""
    return {a.stance, b.stance} == {"is", "has"} and bool({"allergic", "intolerant"} & {*a.words, *b.words})


def _counted(statement: Statement) -> list[str]:
    """Its numbers in order: two cats and a dog are not two dogs and a cat."""
    return [word for word in statement.words if word in statement.numbers]


def _counts(statement: Statement) -> bool:
    """Whether its numbers say how much or how many: who has a meeting at three may have another at four."""
    before = {mark for mark, word in itertools.pairwise(statement.words) if word in statement.numbers}
    several = statement.stance == "likes" or before & BEFORE_TIMES
    return bool(statement.numbers) and (_is_choosy(statement) or not several)


def _is_choosy(statement: Statement) -> bool:
    """Whether who wants one thing in this way does not want its opposite, too; who likes hot tea may like iced tea."""
    return statement.stance in ("prefers", "wants", "asks", "is")
