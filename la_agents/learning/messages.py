"""A message as its author's own sentences: without what it quotes, and split by a library that knows abbreviations."""

from __future__ import annotations

import re

import sentencex

__all__ = ["MAX_CHARS", "QUOTED_LINE", "sentences"]

MAX_CHARS = 2_000
"""Longer messages are mostly pasted; whoever reads them by rules leaves them out."""

QUOTED_LINE = re.compile(r"^[ \t]*>.*$", re.MULTILINE)


def sentences(text: str) -> list[str]:
    """The sentences of a message in its language of any script, without lines that are marked as quoted by ">"."""
    lines = QUOTED_LINE.sub("", text).splitlines()
    split = (sentence.strip() for line in lines if line.strip() for sentence in sentencex.segment("en", line))
    return [sentence for sentence in split if sentence]
