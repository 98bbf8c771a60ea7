"""What the patterns of clauses are made of: rules, lists of words, and phrases that point at nothing outside.

A clause that points at something outside itself ("this", "the third paragraph", "option B", "today") is about the
moment or about a text that lies there. The words that point are in no phrase, so that no pattern matches.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from la_agents.preferences.preference import Scope

__all__ = [
    "DOING",
    "LANGUAGE",
    "SUBSTANCE",
    "THINGS",
    "WORDS_OF_ORDER",
    "WORDS_OF_SPEECH",
    "Rule",
    "one_of",
    "pattern",
    "stems",
]


@dataclass(frozen=True, slots=True)
class Rule:
    """One form of clause: a pattern for all of it, with a group `text` if only a part is worth remembering."""

    pattern: re.Pattern[str]
    scope: Scope | None  # None: always if it is about answers or a whole field, else relevant
    confidence: float


def pattern(text: str) -> re.Pattern[str]:
    """A pattern that does not see case."""
    return re.compile(text, re.IGNORECASE)


def stems(listing: str) -> str:
    """The pattern of what begins one of several words, given with commas between."""
    return rf"(?:{'|'.join(each.strip() for each in ' '.join(listing.split()).split(','))})"


def one_of(listing: str) -> str:
    """The pattern of one of several expressions, given with commas between; each ends with its word."""
    return rf"{stems(listing)}(?![\w'-])"


LANGUAGE = one_of(
    """italian, french, german, spanish, english, dutch, portuguese, japanese, chinese, mandarin, russian, latin,
    korean, arabic, polish, swedish, turkish, greek, hindi, danish, norwegian, finnish, czech, hungarian, hebrew,
    thai"""
)
_POINTING = one_of(
    r"""this, that, that's, these, those, it, it's, its, he, he's, she, she's, him, her, his, hers, they, them,
    their, theirs, here, there, who, whom, whose, which, what, where, why, how, one(?! \w), ones, both, either,
    neither, none, another, other, others, former, latter, above, below, following, previous, given, provided,
    attached, today, tonight, now, tomorrow, yesterday, currently, until, till, during, for a
    (?:while|day|week|month|bit), maybe, perhaps, if, unless, says, said, tells, told, wrote, writes, according,
    replied, is, are, was, were, will, would, could, should, might, has, had"""
)
_NO_THING = one_of(
    r"""the, you, your, yours, my, me, we, us, our, i, i'm, i've, i'd, something, anything, everything, nothing,
    option, version, variant, draft, choice, answer, suggestion, proposal, plan, number, title, paragraph, design,
    idea, one, two, three, four, five, first, second, third, next, last, instead, best, better, more, less, fewer,
    shorter, longer, darker, lighter, bigger, smaller, larger, simpler, warmer, colder, cheaper, earlier, later,
    nicer, higher, lower, faster, slower, softer, stronger, enough, much, many, well, properly, so, just, to, not,
    into, as, backwards, reversed, sadder, happier,
    say, saying, tell, write, quotes?, translate, rewrite, rephrase, paraphrase, proofread, correct, summari[sz]e,
    monday, tuesday, wednesday, thursday, friday, saturday, sunday, [\w-]+'s,
    (?:noon|midnight|morning|afternoon|evening|january|february|march|april|june|july|august|september|october|
    november|december)$, a (?:\w+ )?(?:table|list|summary|reply|response|explanation|chart|graph|story|poem|example)"""
)
_LETTERS = r"[^\W\d_]+"
_SHORT = r"(?:(?:st|dr|mr|mrs|ms|mt|prof|jr|sr|inc|ltd|co|approx|ph\.d)\.|(?:[a-z]\.)+[a-z]?|e\.g\.|etc)"
_WORD = rf"(?:{_SHORT}|a(?= )|{_LETTERS}(?:[-'/&]{_LETTERS})*(?<=\w\w))(?![\w'-])"
_AT = r"(?:in|at|by|on) the (?:morning|afternoon|evening|winter|summer|office|mountain|sea|beach|countryside|weekend)s?"
_WHOSE = r"(?<=s )that(?: are| have| do not| don't)?(?! \w+$)"  # "games that include grinding", not "I like that idea"
_FORM = (
    r"(?:in|for|without) (?:\w+ ){0,2}(?:letters?|vowels|binary|code|language|speak|prose|verse|rhymes?|cards?|slogans?"
    r"|captions?|titles?|posts?|tweets?)\b"
)  # of a text: "I love jazz in capital letters", "I hate spiders for a slogan"
_THING = (
    rf"(?:{_AT}|(?:more|better|rather) than|due to|because of|{_WHOSE}|"
    rf"(?!{_POINTING}|{_NO_THING}|in {LANGUAGE}|{_FORM}){_WORD})"
)
_AND = "and|or|but|nor|up|out|off|away|down|over|through"
_OF = "of|to|for|in|on|at|with|when|while"


def _listed(thing: str, not_first: str) -> str:
    """Words without commas, or a list that ends with "and" or "or"."""
    phrase = rf"{thing}(?: {thing}){{0,9}}"
    return rf"(?!(?:{not_first})\b){phrase}(?:(?:, {phrase}){{1,5}},? (?:and|or) {phrase})?"


THINGS = _listed(_THING, f"{_AND}|{_OF}")
"""What somebody likes or eats."""

DOING = _listed(_THING, _AND)
"""What somebody does, and how: after a verb."""

SUBSTANCE = _listed(rf"(?:[\w-]+'s wort|[\w-]*\d[\w-]*|{_THING})", _AND)
"""What somebody is allergic to."""

_SYSTEM = r"the (?:(?:oxford|serial) comma|(?:metric|imperial) system|24-hour clock)"
_SPOKEN = rf"(?!{_POINTING})(?:{_WORD}|\d+|[\"“][^\"“”]{{1,30}}[\"”])"
_ORDERED = rf"(?:{_SYSTEM}|(?!the\b){_SPOKEN})"
WORDS_OF_ORDER = rf"(?: {_ORDERED}(?:,? {_ORDERED}){{0,19}})"
"""What an order is about; short quotations may be in it."""

WORDS_OF_SPEECH = rf"(?: {_SPOKEN}(?:[,:]? {_SPOKEN}){{0,19}})"
"""How to answer; "the" points at nothing there."""
