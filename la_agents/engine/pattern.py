"""Pattern: the shortest way to complete a text under regular expressions and bounds of length.

A Thompson automaton, of which each state knows how many characters are left to an end. Python's `re` parses; what has
no automaton, such as look-around and back-references, has no pattern here.
"""

from __future__ import annotations

import heapq
import itertools
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

if sys.version_info >= (3, 11):
    from re import _parser  # type: ignore[attr-defined]
else:
    import sre_parse as _parser

__all__ = ["Pattern", "StringRule"]

_MAX_STATES = 20_000
_MAX_EXPANSIONS = 1_000
_LAST = 0x10FFFF
_PREFERRED = "a0A1-_.:/@ "
_CLASSES = {"DIGIT": [(48, 57)], "WORD": [(48, 57), (65, 90), (95, 95), (97, 122)], "SPACE": [(9, 13), (32, 32)]}

Ranges = tuple[tuple[int, int], ...]
_BEGIN, _END = "begin", "end"
_ANCHORS = {"AT_BEGINNING": _BEGIN, "AT_BEGINNING_STRING": _BEGIN, "AT_END": _END, "AT_END_STRING": _END}


class _UnreadableError(ValueError):
    def __init__(self) -> None:
        super().__init__("A part of the regular expression cannot be read here.")


def _complement(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    out, at = [], 0
    for low, high in sorted(ranges):
        if low > at:
            out.append((at, low - 1))
        at = max(at, high + 1)
    return [*out, (at, _LAST)] if at <= _LAST else out


@dataclass
class _State:
    free: list[tuple[str | None, int]] = field(default_factory=list)  # without a character, at an anchor or anywhere
    on: tuple[Ranges, int] | None = None


class Pattern:
    """One regular expression, sought anywhere in a text, as in a schema's `pattern`.

    Args:
        source: In the syntax that schemas share.
        whole: Whether all of a text has to match.

    Raises:
        ValueError: it uses something else.
    """

    def __init__(self, source: str, *, whole: bool = False) -> None:
        self._states: list[_State] = []
        first, last = _Compiler(self._state, self._states).sequence(_parsed(source))
        self._start, self._accept = self._state(), self._state()
        self._states[self._start].free.append((None, first))
        self._states[last].free.append((None, self._accept))
        if not whole:  # any text before and after
            for state in (self._start, self._accept):
                loop = self._state()
                self._states[state].free.append((None, loop))
                self._states[loop].on = (((0, _LAST),), state)
        self._distances = self._distances_to_end()
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        self.begin = self._closure([self._start], at_begin=True)

    def _state(self) -> int:
        if len(self._states) >= _MAX_STATES:
            raise _UnreadableError
        self._states.append(_State())
        return len(self._states) - 1

    def _closure(self, states: Sequence[int], *, at_begin: bool = False) -> frozenset[int]:
        seen, waiting = set(states), list(states)
        while waiting:
            for anchor, target in self._states[waiting.pop()].free:
                if target not in seen and (anchor is None or (anchor == _BEGIN and at_begin)):
                    seen.add(target)
                    waiting.append(target)
        return frozenset(seen)

    def step(self, states: frozenset[int], character: str) -> frozenset[int]:
        """The states after one more character."""
        key = (states, character)
        if key not in self._steps:
            if len(self._steps) > _MAX_STATES:
                self._steps.clear()
            code = ord(character)
            targets = [
                on[1] for state in states if (on := self._states[state].on) and any(a <= code <= b for a, b in on[0])
            ]
            self._steps[key] = self._closure(targets)
        return self._steps[key]

    def distance(self, states: frozenset[int]) -> float:
        """How many characters are left at least; infinite: no text ends from here."""
        return min((self._distances[state] for state in states), default=float("inf"))

    def characters(self, states: frozenset[int]) -> Iterator[str]:
        """One character of each kind that may matter next."""
        for state in states:
            on = self._states[state].on
            for low, high in on[0] if on else ():
                yield from (chr(code) for code in {low, high} if not 0xD800 <= code <= 0xDFFF)

    def _distances_to_end(self) -> list[float]:
        """For each state the fewest characters to the end, backwards from it."""
        before: list[list[tuple[int, int]]] = [[] for _ in self._states]
        for number, state in enumerate(self._states):
            for anchor, target in state.free:
                if anchor != _BEGIN:
                    before[target].append((number, 0))
            if state.on is not None:
                before[state.on[1]].append((number, 1))
        out = [float("inf")] * len(self._states)
        out[self._accept] = 0
        waiting = deque([self._accept])
        while waiting:
            at = waiting.popleft()
            for number, cost in before[at]:
                if out[at] + cost < out[number]:
                    out[number] = out[at] + cost
                    (waiting.append if cost else waiting.appendleft)(number)
        return self._corrected(out)

    def _corrected(self, distances: list[float]) -> list[float]:
        """`$` lets nothing follow: behind it only states count that need nothing more."""
        ends = {
            number
            for number, state in enumerate(self._states)
            for anchor, target in state.free
            if anchor == _END and not distances[target]
        }
        for number, state in enumerate(self._states):
            if state.free and all(anchor == _END for anchor, _ in state.free) and number not in ends:
                distances[number] = float("inf")
        return distances


class _Compiler:
    """Turns Python's parse tree of a regular expression into states."""

    def __init__(self, state: Callable[[], int], states: list[_State]) -> None:
        self._new = state
        self._states = states

    def sequence(self, items: Iterable[Any]) -> tuple[int, int]:
        """The first and the last state of what comes one after the other."""
        first = last = self._new()
        for kind, value in items:
            start, end = self._one(str(kind), value)
            self._link(last, start)
            last = end
        return first, last

    def _link(self, source: int, target: int, anchor: str | None = None) -> None:
        self._states[source].free.append((anchor, target))

    def _one(self, kind: str, value: Any) -> tuple[int, int]:
        if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            return self._repeat(*value)
        if kind == "BRANCH":
            first, last = self._new(), self._new()
            for option in value[1]:
                start, end = self.sequence(option)
                self._link(first, start)
                self._link(end, last)
            return first, last
        if kind == "SUBPATTERN" and not value[1] and not value[2]:
            return self.sequence(value[3])
        first, last = self._new(), self._new()
        if kind == "AT" and str(value) in _ANCHORS:
            self._link(first, last, _ANCHORS[str(value)])
        else:
            self._states[first].on = (tuple(_ranges(kind, value)), last)
        return first, last

    def _repeat(self, least: int, most: Any, items: Iterable[Any]) -> tuple[int, int]:
        endless = most == _parser.MAXREPEAT
        first = last = self._new()
        for i in range(least + 1 if endless else most):
            start, end = self.sequence(items)
            self._link(last, start)
            if i >= least:
                self._link(last, end)
            if endless and i == least:
                self._link(end, start)
            last = end
        return first, last


def _ranges(kind: str, value: Any) -> list[tuple[int, int]]:
    """The characters that one item of a parse tree stands for."""
    if kind == "LITERAL":
        return [(value, value)]
    if kind == "NOT_LITERAL":
        return _complement([(value, value)])
    if kind == "ANY":
        return _complement([(10, 10)])
    if kind == "RANGE":
        return [value]
    if kind == "CATEGORY" and (name := str(value).removeprefix("CATEGORY_")).removeprefix("NOT_") in _CLASSES:
        ranges = _CLASSES[name.removeprefix("NOT_")]
        return _complement(ranges) if name.startswith("NOT_") else ranges
    if kind == "IN":
        negated = str(value[0][0]) == "NEGATE"
        ranges = [r for inner, what in value[negated:] for r in _ranges(str(inner), what)]
        return _complement(ranges) if negated else ranges
    raise _UnreadableError


def _parsed(source: str) -> Iterable[Any]:
    """Python's parse tree; where other dialects read a class as one with an operator, there is none."""
    classes = re.findall(r"\[\^?\]?([^\]]*)\]", re.sub(r"\\.", "", source, flags=re.DOTALL))
    if any(sign in inner for inner in classes for sign in ("[", "&&", "--", "~~")):
        raise _UnreadableError
    try:
        tree = _parser.parse(re.sub(r"(?<!\\)\(\?<(?=[A-Za-z_])", "(?P<", source))
    except (re.error, OverflowError) as error:
        raise _UnreadableError from error
    if tree.state.flags & re.IGNORECASE:
        raise _UnreadableError
    return cast("Iterable[Any]", tree)


class StringRule:
    """What a string has to be: all of these patterns, and of a length.

    Args:
        patterns: Regular expressions.
        least: Characters at least.
        whole: See `Pattern`.

    Raises:
        ValueError: a pattern cannot be read.
    """

    def __init__(self, patterns: Sequence[str], least: int = 0, *, whole: bool = False) -> None:
        self._patterns = [Pattern(pattern, whole=whole) for pattern in patterns]
        self._least = least

    def completion(self, text: str, max_expansions: int = _MAX_EXPANSIONS) -> str | None:
        """The shortest text that completes this one; None if none is found within so many states."""
        states = [pattern.begin for pattern in self._patterns]
        for character in text:
            states = [p.step(s, character) for p, s in zip(self._patterns, states, strict=True)]
        return self._search(tuple(states), max(self._least - len(text), 0), max_expansions)

    def _search(self, states: tuple[frozenset[int], ...], missing: int, max_expansions: int) -> str | None:
        """A*: the distances of the single patterns are never too great."""
        numbers = itertools.count()
        queue = [(self._left(states, missing), 0, next(numbers), states, "")]
        seen: set[tuple[tuple[frozenset[int], ...], int]] = set()
        for _ in range(max_expansions):
            if not queue:
                return None
            left, minus_length, _, states, text = heapq.heappop(queue)
            if left == float("inf"):
                return None
            if left == -minus_length:
                return text
            still = max(missing - len(text), 0)
            if (states, still) in seen:
                continue
            seen.add((states, still))
            for character in self._candidates(states):
                after = tuple(p.step(s, character) for p, s in zip(self._patterns, states, strict=True))
                rest = self._left(after, max(still - 1, 0))
                if rest < float("inf"):
                    length = len(text) + 1
                    heapq.heappush(queue, (length + rest, -length, next(numbers), after, text + character))
        return None

    def _left(self, states: tuple[frozenset[int], ...], missing: int) -> float:
        return max([missing, *(p.distance(s) for p, s in zip(self._patterns, states, strict=True))])

    def _candidates(self, states: tuple[frozenset[int], ...]) -> list[str]:
        """Characters to try: the common ones and the ends of every range, control characters last."""
        named = {c for p, s in zip(self._patterns, states, strict=True) for c in p.characters(s)}
        return [
            *_PREFERRED,
            *sorted(named - set(_PREFERRED), key=lambda c: (not c.isascii() or not c.isprintable(), c)),
        ]
