"""What a short English preference says, by word lists: subject words, polarity, numbers and slots. Pure, no model.

A statement is read so that two can be compared: "I can't stand loud bars" is about {loud, bar}, negative. Texts
without a single English function word, or with one of another language, are not read (`Statement.is_read` is false)
and compared by their letters only.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from la_agents.preferences.rules.choices import Choice, read_choice, read_order
from la_agents.preferences.rules.languages import ELSEWHERE, FOREIGN, FOREIGN_IN_NAMES, LANGUAGES
from la_agents.preferences.rules.lexicon import FREQUENT, HEDGES, NEGATIONS, NEGATIVE, POSITIVE, QUANTITIES
from la_agents.preferences.rules.roles import Roles, read_roles
from la_agents.preferences.rules.single_values import Slot, read_slot
from la_agents.preferences.rules.speakers import read_stance, read_whose
from la_agents.preferences.rules.stems import SMALL, forms_of, stem, subject_of
from la_agents.preferences.rules.tokens import capitalised, name_numbers, tokens, without_filler
from la_agents.preferences.rules.verbs import CONSUMING, IMPERATIVES, VERBS, Stance

__all__ = ["Statement", "letters", "read_statement", "read_subject"]

_JOINING = ("and", "but", "while", "whereas")
_SAYING = POSITIVE | CONSUMING | frozenset(VERBS)
_ENGLISH = (FREQUENT | POSITIVE | NEGATIVE | NEGATIONS | IMPERATIVES) - ELSEWHERE


@dataclass(frozen=True, slots=True)
class Statement:
    """A preference as the comparison sees it.

    Attributes:
        words: All its words, in order, without filler.
        subject: What it is about: stems without function words, sentiment, negation and numbers.
        polarity: +1 or -1.
        hedges: What weakens a negation, such as "always" in "not always"; "twice" if there is more than one, "mixed" if
            it only denies one of several things.
        stance: What kind of thing it says of the user: likes, wants, has, ...
        numbers: The numbers that count something, as digits; those of names belong to the subject.
        slot: The single-valued place that it fills, if any.
        over: What it chooses over what: "X over Y", "X, not Y", "X instead of Y".
        order: What it puts before what.
        occasions: The subject words of when it holds, such as "on Mondays" or "in winter"; empty if always.
        whose: Whom it is about if not the user, such as "brother" or "boss".
        forms: The stems with the forms that they have.
        cases: The stems with "name" if written with a capital, else "noun"; without those that tell nothing.
        roles: What its small words make of the others: who does it, when, and to what.
        is_read: Whether it has the words of an English sentence, and none of another language.
    """

    words: tuple[str, ...]
    subject: frozenset[str]
    polarity: int
    hedges: frozenset[str]
    stance: Stance
    numbers: frozenset[str]
    slot: Slot | None
    over: Choice | None
    order: Choice | None
    occasions: frozenset[str]
    whose: str | None
    forms: frozenset[tuple[str, str]]
    cases: frozenset[tuple[str, str]]
    roles: Roles
    is_read: bool


def letters(text: str) -> str:
    """The text in one spelling: case, punctuation, contractions, politeness and British spelling dropped."""
    return " ".join(without_filler(tokens(text))) or text.strip().casefold()


@lru_cache(maxsize=20_000)
def read_subject(text: str) -> frozenset[str]:
    """The content words of any text, as stems: of a statement, what it is about."""
    return subject_of(tokens(text))


@lru_cache(maxsize=20_000)
def read_statement(text: str) -> Statement:
    """Read one preference."""
    words = tokens(text)
    said = without_filler(words)
    names = capitalised(text)
    subject, over = subject_of(words), read_choice(words)
    occasions = _OCCASION.findall(" ".join(words))
    denials = sum(word in NEGATIVE or word in NEGATIONS for word in words) - bool(over and over.denies)
    of_names = name_numbers(words, names, SMALL)
    return Statement(
        words=tuple(said),
        subject=subject | of_names,
        polarity=-1 if denials % 2 else 1,
        hedges=_hedges(said, denials) | (frozenset({"mixed"}) if over is None and _is_mixed(words) else frozenset()),
        stance=read_stance(words),
        numbers=frozenset(word for word in words if word.isdigit()) - of_names,
        slot=read_slot(said, names, bool(occasions)),
        over=over,
        order=read_order(words),
        occasions=subject_of(" ".join(occasions).split()),
        whose=read_whose(words),
        forms=forms_of(said),
        cases=_cases(text, said, names),
        roles=read_roles(said),
        is_read=_is_english(words, subject),
    )


_SEASON = r"winter|summer|spring|autumn|fall"
_TIME = r"mornings?|afternoons?|evenings?|nights?|weekends?|weekdays?|week|\w+days?"
_OCCASION = re.compile(
    rf"\b(?:(?:on|at|over|in|during) (?:the |this )?(?:{_TIME}|{_SEASON}|work|home|school|lunch|dinner|breakfast|noon)"
    rf"|(?:every|each) (?:{_TIME}|{_SEASON})"
    r"|(?:when|while|before|after|if|unless|until) .+)\b"
)
"""When something holds, over the words of a text in lower case."""


def _hedges(words: Sequence[str], denials: int) -> frozenset[str]:
    after = [word for before, word in itertools.pairwise(words) if before in NEGATIONS and word in HEDGES]
    denied = itertools.dropwhile(lambda word: word not in NEGATIONS | NEGATIVE, words)
    twice = ["twice"] if denials > 1 else []  # who does not hate it does not love it for that
    return frozenset([*after, *(word for word in denied if word in QUANTITIES), *twice])


def _cases(text: str, words: Sequence[str], names: frozenset[str]) -> frozenset[tuple[str, str]]:
    """Apple is not an apple; but who writes all words large, or all small, tells no names apart by it."""
    if text in (text.lower(), text.title()):
        return frozenset()
    told = [word for word in words[1:] if word not in SMALL and word not in LANGUAGES]
    return frozenset((stem(word), "name" if word in names else "noun") for word in told)


def _is_mixed(words: Sequence[str]) -> bool:
    """Whether one clause denies and another does not: "I hate tea and like coffee"."""
    clauses = [[*clause] for joins, clause in itertools.groupby(words, _JOINING.__contains__) if not joins]
    denies = [bool((NEGATIVE | NEGATIONS) & {*clause}) for clause in clauses]
    affirms = [not no and bool(_SAYING & {*clause}) for no, clause in zip(denies, clauses, strict=True)]
    return any(denies) and any(affirms)


def _is_english(words: Sequence[str], subject: frozenset[str]) -> bool:
    if FOREIGN & {*words}:
        return False
    if any(word in _ENGLISH for word in words) or subject & LANGUAGES:
        return True
    return words[:1] == ["no"] and not FOREIGN_IN_NAMES & {*words}
