"""A message as its author's own sentences: without what it quotes, split by a library that knows abbreviations."""

from __future__ import annotations

import re

import sentencex

__all__ = ["own_lines"]

_QUOTED_LINE = re.compile(
    r"(?:^[^\n]{1,200}(?:wrote|said|writes):[ \t]*\n\s*)?^[ \t]*>.*$", re.MULTILINE | re.IGNORECASE
)


def own_lines(text: str) -> list[list[str]]:
    """The sentences of each line, without lines that are marked as quoted by ">", and without "Tom wrote:" before."""
    lines = _QUOTED_LINE.sub("", text).splitlines()
    return [[sentence.strip() for sentence in sentencex.segment("en", line)] for line in lines if line.strip()]
