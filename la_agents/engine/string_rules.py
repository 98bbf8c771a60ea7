"""String rules: what a grammar asks of its strings, and how the one that is being written can be closed.

The matcher of a grammar tells which tokens are allowed, not which of them lead to an end. But it allows no byte after
which a pattern could not be met any more: under a bound of length, any bytes that it allows complete a text. The least
bound that allows what was written is found by bisection.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

__all__ = ["Cursor", "StringRule", "StringRules"]

_MAX_RULES = 32
_MAX_REST = 128
"""Characters to complete a text with, at most."""

_BLOCK = 32
"""Bounds of length are multiples of this where they need not be the least."""

_PREFERRED = b'"a0A1-_.:/@ '
_REGEX = re.compile(r"start: /(.*)/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where in its text an answer is.

    Attributes:
        string: What was written of the JSON string that is open, as it was written.
        text: All that was written.
    """

    string: bytes | None = None
    text: bytes = b""

    def after(self, written: bytes, *, keep_text: bool) -> Cursor:
        string = self.string
        for byte in written:
            if string is None:
                string = b"" if byte == ord('"') else None
            elif byte == ord('"') and (len(string) - len(string.rstrip(b"\\"))) % 2 == 0:
                string = None
            else:
                string += bytes([byte])
        return Cursor(string, self.text + written if keep_text else b"")


class StringRule:
    """What a JSON string, or a whole text, has to be.

    Args:
        patterns: Regular expressions, all to be found in it.
        least: Characters at least.
        whole: Whether it is about a whole text, which its one pattern has to match from end to end.
    """

    def __init__(self, patterns: Sequence[str], least: int = 0, *, whole: bool = False) -> None:
        self._patterns, self._least, self._whole = patterns, least, whole

    def completion(self, written: bytes, enough: int = 0) -> bytes | None:
        """The shortest text that completes this one, or one of up to `enough` bytes; None for none of 128 characters.

        Args:
            written: The text, or the inside of a JSON string; its closing quote is part of what completes it.
            enough: What need not be shortened: the bound is then one that serves for many texts.

        Raises:
            ValueError: the text ends inside a character or an escape.
        """
        num_characters = len(written.decode() if self._whole else json.loads(b'"' + written + b'"', strict=False))
        start = max(num_characters, self._least)
        block = -(-start // _BLOCK) * _BLOCK
        for high in (block, block + _MAX_REST):
            state = self._after(written, high)
            if state is not None:
                break
        else:
            return None
        text = _completed(state)
        low = start - 1
        while text is not None and len(text) > enough and high - low > 1:
            middle = (low + high) // 2
            state = self._after(written, middle)
            low, high = (middle, high) if state is None else (low, middle)
            text = text if state is None else _completed(state)
        return text

    def _after(self, written: bytes, most: int) -> LLMatcher | None:
        """The state after what was written, of a text of at most so many characters; None if there is none."""
        if self._whole:
            source = f"start: TEXT\nTEXT: /{self._patterns[0]}/ & /(?s:.{{0,{most}}})/"
        else:
            parts = [{"pattern": pattern} for pattern in self._patterns]
            schema = {"type": "string", "minLength": self._least, "maxLength": most, "allOf": parts}
            source, written = f"start: %json {json.dumps(schema)}", b'"' + written
        state = _start(source).deep_copy()
        return state if state.try_consume_tokens(list(written)) == len(written) else None


@functools.lru_cache(maxsize=1)
def _bytes() -> LLTokenizer:
    """A vocabulary of the 256 bytes."""
    from llguidance import LLTokenizer

    return LLTokenizer("byte")


@functools.lru_cache(maxsize=1024)
def _start(source: str) -> LLMatcher:
    """A grammar at its beginning; one that cannot be read takes nothing."""
    from llguidance import LLMatcher, LLParserLimits

    return LLMatcher(_bytes(), f"%llguidance {{}}\n{source}", log_level=0, limits=LLParserLimits(verbose_errors=False))


@functools.lru_cache(maxsize=1)
def _ranks() -> Any:
    """Which byte to write of those that are allowed: common ones first, then printable ones."""
    order = sorted(range(256), key=lambda b: (_PREFERRED.find(b) % 256, not 32 <= b < 127 or b == ord("\\"), b))
    return np.argsort(order)


def _completed(state: LLMatcher) -> bytes | None:
    """Bytes that the state allows, up to where it is complete."""
    out = bytearray()
    while not state.is_accepting():
        bits = np.frombuffer(state.compute_bitmask(), dtype=np.uint8)
        allowed = np.flatnonzero(np.unpackbits(bits, bitorder="little")[:256])
        if not len(allowed):
            return None
        out.append(int(allowed[_ranks()[allowed].argmin()]))
        state.consume_token(out[-1])
    return bytes(out)


class StringRules:
    """The rules of one grammar.

    Attributes:
        about_text: Whether one is about the whole text.
    """

    def __init__(self, source: str) -> None:
        found = dict.fromkeys(_of_strings(source))
        self._strings = [StringRule(*key) for key in list(found)[:_MAX_RULES]]
        self._texts = [StringRule([pattern], whole=True) for pattern in _of_texts(source)]
        self.about_text = bool(self._texts)

    def completions(self, cursor: Cursor, enough: int = 0) -> list[str]:
        """Texts that may close the open string, or complete the whole text; the shortest first; see `StringRule`."""
        rules, written = (self._texts, cursor.text) if self._texts else (self._strings, cursor.string)
        if written is None:
            return []
        try:
            found = {text.decode() for rule in rules if (text := rule.completion(written, enough)) is not None}
        except ValueError:  # in the middle of a character or an escape
            return []
        return sorted(found, key=len)


def _of_texts(source: str) -> Iterator[str]:
    """The regular expression that is the whole grammar."""
    if source.startswith("{"):
        for grammar in json.loads(source).get("grammars", ()):
            found = _REGEX.fullmatch(grammar.get("lark_grammar") or "")
            if found:
                yield found[1]


def _of_strings(source: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Patterns and least lengths in the schemas of a grammar."""
    for found in re.finditer(r"%json ", source):
        schema, _ = json.JSONDecoder().raw_decode(source, found.end())
        yield from _of_schema(schema)


def _of_schema(root: Any) -> Iterator[tuple[tuple[str, ...], int]]:
    waiting = [root]
    while waiting:
        at = waiting.pop()
        if isinstance(at, Mapping):
            patterns, least = _in_place(at)
            if patterns or least:
                yield tuple(dict.fromkeys(patterns)), least
            names = at.get("patternProperties")
            for pattern in names if isinstance(names, Mapping) else ():
                yield (pattern,), 0
        waiting += at.values() if isinstance(at, Mapping) else at if isinstance(at, list) else ()


def _in_place(schema: Any) -> tuple[list[str], int]:
    """What a schema and its `allOf` say of one string."""
    if not isinstance(schema, Mapping):
        return [], 0
    own, least = schema.get("pattern"), schema.get("minLength", 0)
    patterns, least = [own] if isinstance(own, str) else [], least if isinstance(least, int) else 0
    for part in schema.get("allOf") or ():
        more, length = _in_place(part)
        patterns, least = patterns + more, max(least, length)
    return patterns, least
