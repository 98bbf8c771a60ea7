"""Whose wish a text states, and what kind of thing it says of them. Pure, no model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from la_agents.preferences.rules.lexicon import ATTRIBUTES, FILLER, FREQUENT, NEGATIONS, NEGATIVE, POSITIVE, RELATIVES
from la_agents.preferences.rules.stems import stem
from la_agents.preferences.rules.verbs import BE, IMPERATIVES, OTHERS_VERBS, PARTICIPLES, SKIPPED, VERBS, Stance

__all__ = ["comparable", "read_stance", "read_whose"]

_LIKE = (
    frozenset({"likes", "prefers", "does", "open"}),
    frozenset({"likes", "prefers", "asks", "open"}),
    frozenset({"asks", "wants", "prefers"}),
    frozenset({"asks", "needs", "open"}),
)
_NOBODY = FREQUENT | IMPERATIVES | POSITIVE | NEGATIVE | NEGATIONS
_OTHERS = ("my", "our", "his", "her", "their", "the")


def comparable(one: str, other: str) -> bool:
    """Whether two statements of these stances can say the same or the opposite: having, liking and wanting differ."""
    return one == other or any({one, other} <= group for group in _LIKE)


def read_stance(words: Sequence[str]) -> Stance:
    """What kind of thing the text says of the user, by the verb after the first "I" or "we"."""
    said = [word for word in words if word not in FILLER or word == "know"]
    lead = [word for word in said if word not in NEGATIONS]
    me = next((place for place, word in enumerate(said) if word in ("i", "we")), None)
    if me is None or (lead and lead[0] in IMPERATIVES | {"be", "do", "use", "add"}):
        return "open" if (BE | {"must"}) & {*said[1:]} else "asks"
    return _by_verb(said[me + 1 :])


def _by_verb(words: Sequence[str]) -> Stance:
    is_, has = False, False
    for word in words:
        if word in SKIPPED or word in NEGATIONS:
            continue
        if word == "have" or word in BE - {"been"}:
            is_, has = is_ or word != "have", has or word == "have"
        elif has and word == "to":
            return "needs"
        elif word in VERBS and not (has and word in PARTICIPLES):
            return VERBS[word]
        else:
            return _after_auxiliary(word, is_, has)
    return "is" if is_ else "has" if has else "does"


def _after_auxiliary(word: str, is_: bool, has: bool) -> Stance:
    if has:
        return "done" if word in PARTICIPLES or word.endswith("ed") else "has"
    return "is" if is_ and not word.endswith("ing") else "does"


def read_whose(words: Sequence[str]) -> str | None:
    """Whom the text is about if not the user, as a stem: "my brother ...", "the kids hate ...", "Anna wants ..."."""
    said = [word for word in words if word not in FILLER]
    if said and said[0] in ("he", "she", "they"):
        return said[0]
    for mine, word in itertools.pairwise(itertools.takewhile(lambda word: word not in ("i", "we"), words)):
        if mine == "my" and word in RELATIVES:
            return stem(word)
    return _who_begins(said)


def _who_begins(said: Sequence[str]) -> str | None:
    """Who the sentence begins with: whoever stands before its verb."""
    owned = said[:1] and said[0] in _OTHERS
    if len(said) < 2 or said[1] in ATTRIBUTES or not (owned or said[0] not in _NOBODY):
        return None
    verbs = OTHERS_VERBS | BE | {"have", "has", "can", "will", "s"} if owned else OTHERS_VERBS
    place = next((place for place, word in enumerate(said[1:], 1) if word in verbs), None)
    if place is None or {"i", "we"} & {*said[:place]} or (owned and place < 2):
        return None
    return stem(said[place - 1])
