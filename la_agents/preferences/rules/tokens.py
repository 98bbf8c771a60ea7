"""A text as plain words in one spelling, with the symbols that carry meaning: "C++", "prices in €"."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence

from la_agents.preferences.rules.lexicon import BEFORE_THINGS, CONTRACTIONS, FILLER, NEGATIONS, NUMBERS, PHRASES

__all__ = ["capitalised", "name_numbers", "tokens", "without_filler"]

_EMOTICON = re.compile(r"(?<!\S)[:;=]['-]?[()\[\]dp|/]+(?!\S)")
_CONTRACTIONS = tuple((re.compile(short), long) for short, long in CONTRACTIONS)
_PHRASES = tuple((re.compile(rf"\b{phrase}\b"), meaning) for phrase, meaning in PHRASES)
_ANY_PHRASE = re.compile("|".join(rf"\b(?:{phrase})\b" for phrase, _ in PHRASES))  # most texts have none
_WORD = re.compile(r"\w+(?:\+\+|[+#](?!\w))?|[€$£¥%°]")


def tokens(text: str) -> list[str]:
    """Words in lower case, contractions and phrases written out, numbers as digits, and the symbols that matter."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'").replace("\ufe0f", "")
    for short, long in _CONTRACTIONS:
        text = short.sub(long, text)
    plain = " ".join(_pieces(_EMOTICON.sub("", text)))
    for phrase, meaning in _PHRASES if _ANY_PHRASE.search(plain) else ():
        plain = phrase.sub(meaning, plain)
    return [NUMBERS.get(word, word) for word in plain.split()]


def without_filler(words: Sequence[str]) -> list[str]:
    """Without politeness and intensity; but "not always" is not "not"."""
    return [word for before, word in itertools.pairwise(["", *words]) if word not in FILLER or before in NEGATIONS]


def capitalised(text: str) -> frozenset[str]:
    """The words that are written with a capital, in lower case; none where all are."""
    found = re.findall(r"\b[^\W\d_]\w*", unicodedata.normalize("NFKC", text))
    return frozenset() if text.isupper() else frozenset(word.casefold() for word in found if word[0].isupper())


def name_numbers(words: Sequence[str], names: frozenset[str], small: frozenset[str]) -> frozenset[str]:
    """The numbers that belong to a name and count nothing: "Star Wars 4", "level 2".

    Args:
        words: Those of the text.
        names: The words that are written with a capital.
        small: Function words, before which a number ends what it belongs to.
    """
    return frozenset(
        word
        for place, word in enumerate(words)
        if word.isdigit()
        and place
        and words[place - 1] not in small
        and (
            (place > 1 and words[place - 1] in names)
            or (words[place - 1] != "size" and (place + 1 == len(words) or words[place + 1] in small))
        )
    )


def _pieces(text: str) -> list[str]:
    pieces: list[str] = []
    for chunk in re.sub(r"[^\w\s]", _apart, text).split():
        if words := _WORD.findall(chunk):
            pieces += words
        elif _stands_for_a_thing(chunk, pieces):
            pieces.append(chunk.rstrip(".!?,;:"))
    return [piece for piece in pieces if piece]


def _apart(found: re.Match[str]) -> str:
    """An emoji stands by itself, wherever it is."""
    return f" {found[0]} " if unicodedata.category(found[0]) == "So" else found[0]


def _stands_for_a_thing(symbols: str, before: Sequence[str]) -> bool:
    """Whether a sentence has these symbols where a word would be: behind a content word they only adorn it."""
    if not before:
        return unicodedata.category(symbols[0]) == "So"
    return before[-1] in BEFORE_THINGS or not before[-1][0].isalnum()
