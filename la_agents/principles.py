"""Principle: one instruction to align with, as a call resolved it from a store or from its arguments.

Pure values; imports neither torch nor chromadb. What is stored is a `Preference`, what a prompt holds is a `Principle`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

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
            msg = f"Expected a principle to be non-blank text, got {self.text!r}; leave it out instead."
            raise ConfigurationError(msg)
        if not 0.0 <= self.weight < float("inf"):
            msg = f"Expected a principle's weight to be finite and >= 0, got {self.weight!r}."
            raise ConfigurationError(msg)


def as_principles(principles: Iterable[str | Principle]) -> tuple[Principle, ...]:
    """Accept plain strings beside `Principle`s, as every public argument named `principles` does.

    Raises:
        ConfigurationError: a bare string was given instead of a list, or an item is neither.
    """
    if isinstance(principles, str):
        msg = f"Expected principles to be a list of strings, got the single string {principles!r}; wrap it in a list."
        raise ConfigurationError(msg)
    resolved = []
    for item in principles:
        if not isinstance(item, (str, Principle)):
            msg = f"Expected each principle to be a str or a Principle, got {type(item).__name__}."
            raise ConfigurationError(msg)
        resolved.append(item if isinstance(item, Principle) else Principle(item))
    return tuple(resolved)


def digest(principles: Iterable[Principle]) -> str:
    """SHA-256 over texts and weights, in order: equal digests align alike, so a cache may share an answer."""
    material = json.dumps([[p.text, p.weight] for p in principles], ensure_ascii=False)
    return hashlib.sha256(material.encode()).hexdigest()
