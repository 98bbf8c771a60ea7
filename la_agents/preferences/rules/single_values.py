"""Places that hold one value at a time, such as "favourite colour" or "language of answers". Pure, no model.

A value counts only where it can be one: after "call me" a name, after "I live in" a place, for a budget a number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from la_agents.preferences.rules.languages import CODE_LANGUAGES, LANGUAGES
from la_agents.preferences.rules.lexicon import COUNTRIES, FREQUENT, JUDGEMENTS, NO_CHOICE, NO_PLACE, NO_VALUE
from la_agents.preferences.rules.stems import stem
from la_agents.preferences.rules.thesaurus import SYNONYMS

__all__ = ["Slot", "read_slot"]

_Kind = Literal["thing", "name", "called", "place", "number", "plain"]

_NOW = r"now|these days|from now on|at the moment|recently|last (?:week|month|year)"
_LIVE = "live|am living|are living|am based|are based|now live"
_LEAD = re.compile(rf"^(?:(?:{_NOW}) )+")
_IS_NOW = re.compile(rf"\b(?:{_NOW})\b")
_TAIL = rf"(?: (?:{_NOW}))*$"
_PATTERNS: tuple[tuple[str, str, _Kind], ...] = (
    (r"^my favorite (?P<what>[\w ]+?) is (?P<value>.+?)", "favorite {what}", "thing"),
    (r"^(?P<value>[^ ]+(?: [^ ]+)*?) (?:is|are) my favorite (?P<what>[\w ]+?)", "favorite {what}", "thing"),
    (r"^(?P<value>[\w ]+?) is the (?P<what>\w+) i (?:like|love) best", "favorite {what}", "thing"),
    (r"^call me (?P<value>[\w ]+?)", "form of address", "name"),
    (r"^my name is (?P<value>[\w ]+?)", "name", "called"),
    (r"^i am called (?P<value>[\w ]+?)", "form of address", "called"),
    (rf"^(?:i|we) (?:{_LIVE}) in (?P<value>[\w ]+?)(?: with my \w+)?", "home", "place"),
    (r"^(?P<value>[\w ]+?) is where i live", "home", "place"),
    (r"^my (?P<what>manager|boss|doctor|dentist|bank) is (?P<value>[\w ]+?)", "my {what}", "name"),
    (r"^my (?P<what>age|birthday|phone number|[\w ]*budget[\w ]*?) is (?P<value>.+?)", "my {what}", "number"),
    (r"^i (?:am|turned) (?P<value>\d+)(?: years)?(?: old)?", "age", "number"),
    (r"^i am (?P<value>single|married|divorced|engaged|widowed)", "marital status", "plain"),
)
_SLOTS = tuple((re.compile(pattern + _TAIL), name, kind) for pattern, name, kind in _PATTERNS)
_ADDRESSEE = r"(?: to me| me)?(?: back)?(?: always| only)?"
_LANGUAGE = re.compile(
    rf"^(?:always |only )*(?:answer|reply|respond|write|speak|talk){_ADDRESSEE} in (?P<value>\w+)"
    + _TAIL
    + r"|^i (?:only |just )(?:speak|understand|read) (?P<spoken>\w+)$"
    + r"|^use (?P<used>\w+) (?:in|for) (?:all |every |your |the )*"
    + r"(?:everything(?: write| say)?|answers?|repl(?:y|ies)|responses?)$"
)
_CODE = re.compile(
    r"^(?:when you show code write it|(?:give|write|show)(?: me)?(?: code)? examples|write code) in (?P<value>\S+)"
    + _TAIL
    + r"|^(?:always )?use (?P<used>\S+) (?:in|for) (?:all |the |your |code )*(?:examples|code)"
    + _TAIL
)
_NO_NAME = re.compile(r"swiss|.+(?:ish|ese|[ie]an|day)$")
_AMOUNT = re.compile(
    r"^(?:(?:about|around|at most|at least|up to|under|below|less than|only) )?(?:[€$£¥] )?\d+(?: [^ ]+){0,2}$"
)


@dataclass(frozen=True, slots=True)
class Slot:
    """A place that holds one value at a time, such as "favourite colour" or "language of answers"."""

    name: str
    value: str
    is_new: bool = False

    def is_of(self, slot: Slot) -> bool:
        """Whether both fill one place; who is named Alexander may be called Alex, and be called as he is named."""
        names = {self.name, slot.name}
        return len(names) == 1 or (names == {"name", "form of address"} and self.value == slot.value)

    def excludes(self, slot: Slot) -> bool:
        """Whether this and the later one cannot be: another value, neither a part of the other, nor in another unit.

        Where somebody lives has many names, of town and quarter: it is another only if it is so now.
        """
        mine, others = {*self.value.split()}, {*slot.value.split()}
        units = [{word for word in words if not word.isdigit()} for words in (mine, others)]
        numeric = any(word.isdigit() for word in mine) and any(word.isdigit() for word in others)
        if mine <= others or others <= mine or (numeric and units[0] != units[1]):
            return False
        return self.name != "home" or (slot.is_new and bool(COUNTRIES & mine) == bool(COUNTRIES & others))


def read_slot(words: Sequence[str], names: frozenset[str], occasion: bool) -> Slot | None:
    """The place that a text fills, if any.

    Args:
        words: Those of the text, without filler.
        names: The words that it has with a capital.
        occasion: Whether it says when it holds: then it does not hold alone.
    """
    plain = _LEAD.sub("", " ".join(words))
    for pattern, name, kind in _SLOTS:
        if found := pattern.match(plain):
            value, what = found["value"], found.groupdict().get("what") or ""
            if occasion or not _can_be(value.split(), kind, names) or _is_plural(what):
                return None
            name = name.format(what=_key(what))
            value = " ".join(sorted(SYNONYMS.get(word, word) for word in value.split()))
            return Slot(name, value, is_new=bool(_IS_NOW.search(" ".join(words))))
    return _of_answers(plain)


def _of_answers(plain: str) -> Slot | None:
    for pattern, name, known in ((_LANGUAGE, "answers", LANGUAGES), (_CODE, "code", CODE_LANGUAGES)):
        if found := pattern.match(plain):
            value = next(value for value in found.groups() if value)
            if value in known:
                return Slot(f"language of {name}", value)
    return None


def _can_be(value: Sequence[str], kind: _Kind, names: frozenset[str]) -> bool:
    if kind == "number":
        return bool(_AMOUNT.match(" ".join(value)))
    if value[0] in NO_VALUE or NO_CHOICE & {*value}:
        return False
    if kind == "place":
        return {*value} <= names and not NO_PLACE & {*value}
    if kind == "name" and any(word in LANGUAGES or _NO_NAME.match(word) for word in value):
        return False
    named = {*value} <= names or (kind == "called" and len(value) == 1)
    return kind == "plain" or ((named or kind == "thing") and not (value[-1] in JUDGEMENTS or value[0].endswith("ly")))


def _is_plural(what: str) -> bool:
    """Favourite colours can be several."""
    return what.endswith("s") and not what.endswith(("ss", "series"))


def _key(words: str) -> str:
    kept = [stem(word) for word in words.split() if word not in FREQUENT]
    return " ".join(sorted(kept)) or words
