"""Words, sentences, echoes and repetitions of a text: what answers are scored by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["distinct_2", "distinct_bigrams", "lines", "new_words", "repetition", "sentences", "without_echo", "words"]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_BULLET = re.compile(r"^\s*(?:[-*•–]|\d+[.)])\s+")
_SENTENCE = re.compile(r"\S.*?(?:[.!?…]+[\"'”’)*]*(?=\s)|$)")
_ECHO = 0.8
_MIN_ECHO_WORDS = 4


def words(text: str) -> list[str]:
    """Words in lower case, with straight apostrophes; punctuation, markup and emoji are none."""
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def lines(text: str) -> list[str]:
    """Lines that hold a word."""
    return [line.strip() for line in text.splitlines() if words(line)]


def sentences(text: str) -> list[str]:
    """Sentences that hold a word; a line end ends one, the mark of a list item is no part of one."""
    found = [part for line in lines(text) for part in _SENTENCE.findall(_BULLET.sub("", line))]
    return [part.strip() for part in found if words(part)]


def without_echo(text: str, *sources: str) -> str:
    """The text without the sentences that repeat one of the sources.

    An echo is a sentence of the source, or one of at least four words of which four fifths are the source's.
    """
    kept = []
    for line in text.splitlines():
        parts = [part for part in _SENTENCE.findall(line) if not any(_is_echo(part, source) for source in sources)]
        kept.append(" ".join(parts))
    return "\n".join(kept)


def _is_echo(sentence: str, source: str) -> bool:
    own, known = words(sentence), words(source)
    if len(own) < _MIN_ECHO_WORDS:
        return bool(own) and own in [words(part) for part in sentences(source)]
    return sum(word in known for word in own) >= _ECHO * len(own)


def new_words(text: str, *sources: str) -> set[str]:
    """The different words of a text that none of the sources has."""
    return set(words(text)) - {word for source in sources for word in words(source)}


def distinct_bigrams(sequence: Sequence[str]) -> int:
    """How many different pairs of neighbours there are: a length that saying things again does not add to."""
    return len(set(pairwise(sequence)))


def distinct_2(text: str) -> float | None:
    """Different pairs of neighbouring words over all pairs; None for fewer than two words."""
    own = words(text)
    return distinct_bigrams(own) / (len(own) - 1) if len(own) > 1 else None


def repetition(text: str) -> float | None:
    """Share of the words in runs of four that stood before in the text; None for fewer than four words."""
    own = words(text)
    seen: set[tuple[str, ...]] = set()
    again: set[int] = set()
    for start in range(len(own) - 3):
        run = tuple(own[start : start + 4])
        again.update(range(start, start + 4) if run in seen else ())
        seen.add(run)
    return len(again) / len(own) if seen else None
