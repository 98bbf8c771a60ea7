"""Principle: one instruction to align with, as a call resolved it from a store or from its arguments.

Pure values; imports neither torch nor chromadb. What is stored is a `Preference`, what a prompt holds is a `Principle`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from la_agents.errors import ConfigurationError

__all__ = ["Principle", "as_principles", "digest"]


@dataclass(frozen=True, slots=True)
class Principle:
    """A principle and its share in the alignment.

    Attributes:
        text: The instruction in natural language.
        weight: w_i in `f(s) = f_0 + s * sum_i w_i g_i`; 1 is the paper's, 0 switches it off.
        id: The preference it came from, if any.
        relevance: Similarity to the query in [-1, 1]; None if it applies to every call.
        layer: Where it came from: "user", "call" (given as an argument) or the name of a shared layer.
    """

    text: str
    weight: float = 1.0
    id: str | None = None
    relevance: float | None = None
    layer: str = "call"

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            kind = "blank text" if isinstance(self.text, str) else type(self.text).__name__
            msg = f"Expected a principle to be non-blank text, got {kind}; leave it out instead."
            raise ConfigurationError(msg)
        try:
            self.text.encode()
        except UnicodeEncodeError:
            msg = "Expected a principle without lone surrogates (halves of characters), got one; correct its text."
            raise ConfigurationError(msg) from None
        number = isinstance(self.weight, (int, float)) and not isinstance(self.weight, bool)
        if not number or not 0.0 <= self.weight < float("inf"):
            msg = f"Expected a principle's weight to be finite and >= 0, got {self.weight!r}."
            raise ConfigurationError(msg)

    @property
    def plain(self) -> str | dict[str, Any]:
        """The text alone if it says everything, else the fields; `as_principles` reads both."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return self.text if values.keys() == {"text"} else values


def as_principles(principles: Iterable[str | Mapping[str, Any] | Principle]) -> tuple[Principle, ...]:
    """Accept plain strings and mappings of fields beside `Principle`s, as every public argument `principles` does.

    Raises:
        ConfigurationError: no list was given, or an item is none of these.
    """
    items = None
    with contextlib.suppress(TypeError):  # arrays of no dimension have the method, and refuse
        items = None if isinstance(principles, (str, bytes, Mapping)) else iter(principles)
    if items is not None:
        return tuple(_as_principle(item) for item in items)
    what = "a single string" if isinstance(principles, str) else type(principles).__name__
    msg = f"Expected principles to be a list of strings, got {what}; wrap one in a list, and pass [] for none."
    raise ConfigurationError(msg)


def _as_principle(item: object) -> Principle:
    if isinstance(item, Principle):
        return item
    if isinstance(item, str):
        return Principle(item)
    known = {f.name for f in fields(Principle)}
    if isinstance(item, Mapping) and "text" in item and item.keys() <= known:
        return Principle(**item)
    got = type(item).__name__
    msg = f"Expected each of the principles to be a str, a Principle or a mapping of its fields, got {got}."
    raise ConfigurationError(msg)


def digest(principles: Iterable[Principle]) -> str:
    """SHA-256 over all but relevance, in order: equal digests align alike, and their reports name the same records."""
    material = json.dumps([[p.text, float(p.weight), p.id, p.layer] for p in principles], ensure_ascii=False)
    return hashlib.sha256(material.encode()).hexdigest()
