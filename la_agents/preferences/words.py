"""Texts as words: one spelling for what is the same in every script, and the words that a text is about."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["content_words", "english_share", "folded"]

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\ufe0e\ufe0f\ufeff"))
_QUOTES = str.maketrans("\u2018\u2019\u02bc", "'''")
_STOPS = " .!\u3002\uff0e\uff01\uff61\u2026\u0964\u06d4\u1362\u104b\u17d4"


def folded(text: str) -> str:
    """The text in one spelling: case and width folded as Unicode has it, spaces single, no full stop at the end.

    Combining marks stay, and so do punctuation and symbols inside: in many scripts, and in "C++", they tell words
    apart. Two texts say the same words if this is equal.
    """
    if not text.isascii():
        narrow = (unicodedata.normalize("NFKC", c) if _is_of_another_width(c) else c for c in text)
        text = unicodedata.normalize("NFC", "".join(narrow)).translate(_INVISIBLE).translate(_QUOTES)
    words = " ".join("".join(map(_folded_case, text)).split()) if not text.isascii() else " ".join(text.lower().split())
    return words.rstrip(_STOPS) or words


def _is_of_another_width(character: str) -> bool:
    return unicodedata.decomposition(character).startswith(("<wide>", "<narrow>"))


def _folded_case(character: str) -> str:
    """Simple case folding: a letter stays one letter, so that "Maße" are no "Masse"."""
    whole = character.casefold()
    return whole if len(whole) == 1 else character.lower()


_FUNCTION_WORDS = """
    i me my mine favourite favourites favorite favorites fan kind sort we us our you your it its he she they
    them their this that these those a an the and or but if when while where what which who whom how why than as
    of in on at to for from by with about into am is are was were be been being have has had do does did can
    could will would should must may might need only own so too there here some any all lot more most much many
    get make something thing things way out up now again best rather not no never please always really very just
    also like likes love loves enjoy prefer prefers want wants hate hates dislike avoid good s t m re ve ll d
    don
"""
_SMALL = frozenset(_FUNCTION_WORDS.split())
_FEW_WORDS = 3
_ENGLISH = _SMALL - frozenset(
    re.split(" ", "a also am an as do he in it me no on so was will or at over her by i all most fan may")
)
"""Those that few other languages have, too."""

_WORD = re.compile(r"[^\s_!-/:-@\[-`{-~]+")  # with its combining marks, which are no letters to `\w`


def content_words(text: str) -> frozenset[str]:
    """The words that a text is about, without English function words and a plural's s; linear in its length."""
    return frozenset(
        word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
        for word in _WORD.findall(folded(text))
        if word not in _SMALL
    )


def english_share(text: str) -> float | None:
    """The share of a text's words, in [0, 1], that are function words of English; None if it has too few words."""
    words = [word for word in _WORD.findall(folded(text)) if len(word) > 1 or word in "ai"]
    return sum(word in _ENGLISH for word in words) / len(words) if len(words) >= _FEW_WORDS else None
