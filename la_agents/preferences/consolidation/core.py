"""What two preferences say to each other for sure, without a model: the same words, the opposite, or another value.

Each text is read by itself, as a `Reading`: its words in one spelling, and at most one claim, a value for a topic.
Two texts contradict each other if they claim different values for one topic. A topic is either the words that remain
when a negation or a word of liking is taken away ("I like tea", "I do not like tea"), two things in order of preference
("I prefer tea to coffee"), or a place that holds one value by its nature (the language of answers, a name, a
favourite).

The lists are closed: pronouns, auxiliaries, names of languages. Whatever is not certain is no claim: words that make a
sentence speak of some and not of all, of a reason, or of an exception keep it from being read. English only, but for
the same words, which are the same in every script.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from la_agents.preferences.words import folded

__all__ = ["Reading", "contradict", "read"]


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


_MAX_CHARS = 400  # of a text that is read for a claim; whoever says more says more than one thing


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as it is compared.

    Attributes:
        words: In one spelling; see `folded`.
        topic: What it claims a value for; None if it claims nothing for sure.
        value: The value.
        why: What a contradiction about this topic is called, in words.
        names: The words that are written with a capital: "turkey" is not "Turkey". None if
            the text has no capitals, or nothing else: then they tell nothing.
    """

    words: str
    topic: tuple[str, ...] | None = None
    value: str = ""
    why: str = ""
    names: frozenset[str] | None = None


def contradict(one: Reading, other: Reading) -> bool:
    """Whether both claim a value for the same topic, and not the same."""
    if one.topic is None or one.topic != other.topic or one.value == other.value:
        return False
    return one.topic[0] in ("slot", "pole") or None in (one.names, other.names) or one.names == other.names


def read(text: str) -> Reading:
    """Read one preference."""
    words = folded(text)
    if len(words) <= _MAX_CHARS:
        plain = _written_out(words)
        for claim in (_slot, _choice, _pole, _polarity):
            found = claim(plain, text)
            if found is not None:
                return Reading(words, *found, _names(text))
    return Reading(words)


_Claim = tuple[tuple[str, ...], str, str]

_WRITTEN_OUT = (
    (r"\bcan(?:'t|not)\b", "can not"),
    (r"\bwon't\b", "will not"),
    (r"n't\b", " not"),
    (r"\bi'm\b", "i am"),
    (r"\bi'd\b", "i would"),
    (r"\bfavourite\b", "favorite"),
    (r"\bcolour\b", "color"),
    (r"^(?:from now on,? )?(?:please,? )?", ""),
    (r"(?:,? (?:please|from now on))+$", ""),
    (r"\b(i am|i) no longer\b", r"\1 not"),
    (r"\bi not\b", "i do not"),
    (r"(?<= not )(.+?)(?: any ?more| after all)$", r"\1"),
    (r"^no (?=\w)", "do not use "),
)


def _written_out(words: str) -> str:
    """Contractions and other ways to deny written out, politeness left out."""
    for short, long in _WRITTEN_OUT:
        words = re.sub(short, long, words)
    return words


# The same words with and without a negation

_ONLY_SOME = _set_of(
    """
    some any many much most more few fewer less least several certain all every each both either neither only just even
    merely one two three lot lots plenty little bit enough too so always often usually generally sometimes occasionally
    rarely seldom never necessarily entirely completely quite almost nearly but and or nor because since as unless until
    till except besides without other others than anymore longer yet still again also not no
    """
)
"""With one of these, a sentence and its negation may both hold, or say more than the negation turns round."""

_DENIED = (
    (r"i (am|do|can|will|would|should) not (.+)", r"\1"),
    (r"(?:do not|never) (.+)", "order"),
    (r"i never (.+)", "do"),
)
_AFFIRMED = (
    (r"i (am|can|will|would|should) (.+)", r"\1"),
    (r"i (?:do |always )?(.+)", "do"),
    (r"(?:always )?(.+)", "order"),
)
_LIKING = r"(?:really |truly |absolutely )?(?:like|love|enjoy|adore)"
_DISLIKING = r"(?:really |truly |absolutely )?(?:dislike|hate|detest|loathe)|can not stand|can not bear"


def _polarity(words: str, text: str) -> _Claim | None:
    """What is liked, done, wanted or asked for, or the opposite."""
    if disliked := re.fullmatch(rf"i (?:{_DISLIKING}) (.+)", words):
        return _about("like", disliked[1], "no")
    if liked := re.fullmatch(rf"i {_LIKING} (.+)", words):
        return _about("like", liked[1], "yes")
    if unloved := re.fullmatch(rf"i do not {_LIKING} (.+)", words):
        return _about("like", unloved[1], "no")
    for pattern, frame in _DENIED:
        if found := re.fullmatch(pattern, words):
            return _about(found.expand(frame) if "\\" in frame else frame, found[found.re.groups], "no")
    for pattern, frame in _AFFIRMED:
        if found := re.fullmatch(pattern, words):
            return _about(found.expand(frame) if "\\" in frame else frame, found[found.re.groups], "yes")
    return None


def _about(frame: str, rest: str, value: str) -> _Claim | None:
    if _ONLY_SOME & {*re.findall(r"[^\W_]+", rest)} or re.search(r"[,;:()\"]", rest):
        return None
    return (frame, rest), value, "the opposite in the same words"


def _names(text: str) -> frozenset[str] | None:
    """The words with a capital, but the first and "I"."""
    if text == text.lower() or text == text.upper():
        return None
    words = [word for word in re.findall(r"[^\W\d_]\w*", text)[1:] if word != "I"]
    return frozenset(word for word in words if word[0].isupper())


# One thing rather than another


def _choice(words: str, text: str) -> _Claim | None:
    found = re.fullmatch(r"i prefer (.+?) (?:to|over|rather than|instead of) (.+)", words)
    if not found or (_ONLY_SOME - {"than"}) & {*words.split()}:
        return None
    first, second = found[1], found[2]
    return ("choice", *sorted((first, second))), first, "the choice turned round"


_POLES = tuple(
    (re.compile(rf"\b(?:{one}|{other})\b"), re.compile(rf"\b(?:{one})\b"))
    for one, other in (
        ("short|brief|concise", "long|detailed|verbose"),
        ("formal", "informal|casual"),
        ("formally", "informally|casually"),
        ("briefly|concisely", "at length"),
        ("metric", "imperial"),
        ("celsius", "fahrenheit"),
        ("24-hour", "12-hour"),
    )
)
_OF_ANSWERS = re.compile(
    r"i (?:prefer|want) (?:\S+ )?(?:answers|replies|responses|explanations|tone|style|language)"
    r"|(?:always )?(?:give|write|use|keep)(?: me| it| your)?(?: \S+)?(?: \S+)?"
    r"|(?:always )?(?:be|answer) \S+(?: length)?"
)


def _pole(words: str, text: str) -> _Claim | None:
    """Of two ways to answer, one: "Be brief.", "I prefer long answers."."""
    for either, first in _POLES:
        if len(either.findall(words)) == 1 and _OF_ANSWERS.fullmatch(words):
            rest = re.sub(r"^always ", "", either.sub("~", words))
            return (("pole", rest), "first" if first.search(words) else "second", "the other way to answer")
    return None


# Places that hold one value

_LANGUAGES = _set_of(
    """
    english french german spanish italian portuguese dutch polish swedish danish norwegian finnish greek turkish russian
    ukrainian czech hungarian romanian arabic hebrew hindi bengali urdu chinese mandarin cantonese japanese korean
    vietnamese thai indonesian swahili latin catalan
    """
)
_COLORS = _set_of(
    "red green blue yellow orange purple violet pink brown black white grey gray turquoise teal indigo beige"
)
_OLDEST = 120  # a greater number is a height or a weight
_NO_NAMES = _set_of("monday tuesday wednesday thursday friday saturday sunday tomorrow tonight today")


def _is_name(value: str, text: str) -> bool:
    """Up to three words, each with a capital where the text has it; a name of a day is no answer to "call me"."""
    said = [word for word in re.findall(r"[^\W\d_][\w'.-]*", text) if word.casefold().rstrip(".") in value.split()]
    named = {word.casefold().rstrip(".") for word in said if word[0].isupper()}
    parts = value.split()
    return 0 < len(parts) <= 3 and {*parts} <= named and not _NO_NAMES & {*parts} and not text.isupper()


def _is_language(value: str, text: str) -> bool:
    return value in _LANGUAGES


def _is_number(value: str, text: str) -> bool:
    return value.isdecimal() and int(value) <= _OLDEST


def _is_status(value: str, text: str) -> bool:
    return value in ("single", "married", "divorced", "widowed", "engaged")


def _is_favorite(value: str, text: str) -> bool:
    """A name, or a colour: other words may say what a favourite thing is like, and leave which it is."""
    return value in _COLORS or _is_name(value, text)


_ANSWER = r"(?:answer|reply|respond|write|speak|talk)(?: (?:to )?me)?"
_SLOTS: tuple[tuple[re.Pattern[str], str, Callable[[str, str], bool]], ...] = tuple(
    (re.compile(pattern), name, is_value)
    for pattern, name, is_value in (
        (rf"(?:always )?{_ANSWER} (?:only )?in (?P<value>\w+)(?: only)?", "language of answers", _is_language),
        (r"use (?P<value>\w+) for everything(?: you (?:write|say))?", "language of answers", _is_language),
        (r"(?:please )?call me (?P<value>[^,;:]+)", "form of address", _is_name),
        (r"my name is (?P<value>[^,;:]+)", "name", _is_name),
        (r"my favorite (?P<what>[\w ]+?) is (?P<value>[^,;:]+)", "favorite", _is_favorite),
        (r"i am (?P<value>\d+)(?: years)?(?: old)?", "age", _is_number),
        (r"i am (?P<value>\w+)", "marital status", _is_status),
    )
)


def _slot(words: str, text: str) -> _Claim | None:
    for pattern, name, is_value in _SLOTS:
        found = pattern.fullmatch(words)
        if found and is_value(found["value"], text):
            what = found.groupdict().get("what", "")
            return (("slot", name, what), found["value"], f"another {name}{what and f' {what}'}")
    return None
