"""What a short English preference says, by word lists: subject words, polarity, numbers and slots. Pure, no model.

A statement is read so that two can be compared: "I can't stand loud bars" is about {loud, bar}, negative. Texts
without a single English function word are not read (`Statement.is_read` is false) and compared by their letters only.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from la_agents.preferences.lexicon import (
    CONTRACTIONS,
    ELSEWHERE,
    FILLER,
    FREQUENT,
    IMPERATIVES,
    LANGUAGES,
    NEGATIONS,
    NEGATIVE,
    NO_VALUE,
    NUMBERS,
    PHRASES,
    POSITIVE,
    RELATIVES,
    SYNONYMS,
)

__all__ = ["Slot", "Statement", "letters", "read_statement"]

_ENGLISH = (FREQUENT | POSITIVE | NEGATIVE | NEGATIONS | IMPERATIVES) - ELSEWHERE


@dataclass(frozen=True, slots=True)
class Slot:
    """A place that holds one value at a time, such as "favourite colour" or "language of answers"."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Statement:
    """A preference as the comparison sees it.

    Attributes:
        subject: What it is about: stems without function words, sentiment, negation and numbers.
        polarity: +1 or -1.
        numbers: The numbers in it, as digits.
        slot: The single-valued place that it fills, if any.
        over: (chosen, not chosen) of "X over Y" and "X rather than Y".
        occasions: The subject words of when it holds, such as "on Mondays" or "in winter"; empty if always.
        whose: Whom it is about if not the user, such as "brother".
        is_read: Whether it has the words of an English sentence.
    """

    subject: frozenset[str]
    polarity: int
    numbers: frozenset[str]
    slot: Slot | None
    over: tuple[frozenset[str], frozenset[str]] | None
    occasions: frozenset[str]
    whose: str | None
    is_read: bool


def letters(text: str) -> str:
    """The text in one spelling: case, punctuation, contractions, politeness and British spelling dropped."""
    return " ".join(w for w in _words(text) if w not in FILLER) or text.strip().casefold()


@lru_cache(maxsize=20_000)
def read_statement(text: str) -> Statement:
    """Read one preference."""
    words = _words(text)
    plain = " ".join(words)
    signs = [-1 for word in words if word in NEGATIVE or word in NEGATIONS]
    subject = _subject(words)
    return Statement(
        subject=subject,
        polarity=-1 if len(signs) % 2 else 1,
        numbers=frozenset(word for word in words if word.isdigit()),
        slot=_slot(plain),
        over=_over(plain),
        occasions=_subject(" ".join(_OCCASION.findall(plain)).split()),
        whose=next(
            (stem(word) for mine, word in itertools.pairwise(words) if mine == "my" and word in RELATIVES), None
        ),
        is_read=words[:1] == ["no"] or any(word in _ENGLISH for word in words) or bool(subject & LANGUAGES),
    )


def _words(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    for short, long in CONTRACTIONS:
        text = text.replace(short, long)
    text = re.sub(r"\be-(?=\w)", "e", text)
    plain = " ".join(re.findall(r"\w+", text))
    for phrase, meaning in PHRASES:
        plain = re.sub(rf"\b{phrase}\b", meaning, plain)
    return [NUMBERS.get(word, word) for word in plain.split()]


def _subject(words: list[str]) -> frozenset[str]:
    skipped = FREQUENT | POSITIVE | NEGATIVE | NEGATIONS | FILLER
    return frozenset(stem(word) for word in words if word not in skipped and not word.isdigit())


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


_SEASON = r"winter|summer|spring|autumn|fall"
_TIME = r"mornings?|afternoons?|evenings?|nights?|weekends?|weekdays?|week|\w+days?"
_OCCASION = re.compile(
    rf"\b(?:(?:on|at|over|in|during) (?:the |this )?(?:{_TIME}|{_SEASON}|work|home|school|lunch|dinner|breakfast|noon)"
    rf"|(?:every|each) (?:{_TIME}|{_SEASON})"
    r"|(?:when|while|before|after|if|unless|until) .+)\b"
)
"""When something holds, over the words of a text in lower case."""

_TAIL = r"(?: (?:now|these days|from now on|at the moment))*$"
_SLOTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern + _TAIL), name)
    for pattern, name in (
        (r"^my favorite (?P<what>[\w ]+?) (?:is|are) (?P<value>.+?)", "favorite {what}"),
        (r"^(?P<value>[\w ]+?) (?:is|are) my favorite (?P<what>[\w ]+?)", "favorite {what}"),
        (r"^(?P<value>[\w ]+?) is the (?P<what>\w+) i (?:like|love) best", "favorite {what}"),
        (r"^(?:call me|my name is|i am called) (?P<value>[\w ]+?)", "name"),
        (r"^i (?:live|am living|moved|have moved|am based|now live) (?:in|to) (?P<value>[\w ]+?)", "home"),
        (r"^(?P<value>[\w ]+?) is where i live", "home"),
        (
            r"^my (?P<what>manager|boss|doctor|dentist|birthday|age|bank|email|phone number) is (?P<value>.+?)",
            "my {what}",
        ),
        (r"^my (?P<what>[\w ]*budget[\w ]*?) is (?P<value>.+?)", "my {what}"),
        (r"^i (?:study|am studying) (?P<value>[\w ]+?)", "studies"),
        (r"^i am (?P<value>single|married|divorced|engaged|widowed)", "marital status"),
    )
)
_ADVERB = r"(?: always| only)?"
_LANGUAGE = re.compile(
    r"^(?:always |only )*(?:answer|reply|respond|write|speak|talk)(?: to me| me)?(?: back)?"
    + _ADVERB
    + r" in (?P<value>\w+)"
    + _TAIL
    + r"|^i (?:only |just )(?:speak|understand|read) (?P<spoken>\w+)$"
    + r"|^use (?P<used>\w+)(?: in all| for every(?:thing| answer)?| in every| for all)\b.*$"
)
_CODE = re.compile(
    r"^(?:when you show code write it|(?:give|write|show)(?: me)?(?: code)? examples|write code) in (?P<value>\w+)"
    + _TAIL
)


def _slot(plain: str) -> Slot | None:
    plain = " ".join(word for word in plain.split() if word not in FILLER)
    for pattern, name in _SLOTS:
        if found := pattern.match(plain):
            groups = found.groupdict()
            if groups["value"].split()[0] in NO_VALUE or _OCCASION.search(plain):
                return None
            return Slot(name.format(what=_key(groups.get("what") or "")), _key(groups["value"]))
    if found := _LANGUAGE.match(plain):
        value = found["value"] or found["spoken"] or found["used"]
        if value in LANGUAGES:
            return Slot("language of answers", value)
    if found := _CODE.match(plain):
        return Slot("language of code", found["value"])
    return None


def _key(words: str) -> str:
    kept = [stem(word) for word in words.split() if word not in FREQUENT]
    return " ".join(sorted(kept)) or words


def _over(plain: str) -> tuple[frozenset[str], frozenset[str]] | None:
    found = re.match(
        r"^.*?\b(?:prefer|like|drink|choose|rather)\b (.+) (?:over|to|than) (.+)$",
        plain.replace(" rather than ", " than "),
    )
    if not found:
        return None
    chosen, other = (_subject(part.split()) for part in found.groups())
    return (chosen, other) if chosen and other else None
