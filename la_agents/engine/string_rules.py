"""String rules: what a grammar asks of its strings, and how the one that is being written can be closed.

The matcher tells which tokens are allowed, not which of them lead to an end; the patterns in the grammar's source do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from la_agents.engine.pattern import StringRule

__all__ = ["Cursor", "StringRules"]

_MAX_RULES = 32
_MAX_EXPANSIONS = 2_000
"""Work for one string, by all rules together: the engine's loop waits for it."""

_LEAST_EXPANSIONS = 100
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


class StringRules:
    """The rules of one grammar.

    Attributes:
        about_text: Whether one is about the whole text.
    """

    def __init__(self, source: str) -> None:
        found = dict.fromkeys(_of_strings(source))
        self._strings = [rule for key in list(found)[:_MAX_RULES] if (rule := _rule(*key))]
        self._texts = [rule for pattern in _of_texts(source) if (rule := _rule((pattern,), 0, whole=True))]
        self.about_text = bool(self._texts)

    def completions(self, cursor: Cursor) -> list[str]:
        """Texts that may close the open string, or complete the whole text; the shortest first."""
        out: set[str] = set()
        try:
            if self._texts:
                written = cursor.text.decode()
                out |= {text for rule in self._texts if (text := rule.completion(written))}
            elif cursor.string is not None:
                written = json.loads(b'"' + cursor.string + b'"', strict=False)
                share = max(_MAX_EXPANSIONS // max(len(self._strings), 1), _LEAST_EXPANSIONS)
                found = [rule.completion(written, share) for rule in self._strings]
                out |= {json.dumps(text, ensure_ascii=False)[1:] for text in found if text is not None}
        except ValueError:  # in the middle of a character or an escape
            return []
        return sorted(out, key=len)


def _rule(patterns: tuple[str, ...], least: int, *, whole: bool = False) -> StringRule | None:
    try:
        return StringRule(patterns, least, whole=whole)
    except (ValueError, RecursionError):  # what cannot be read is sought without
        return None


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
