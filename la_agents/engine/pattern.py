"""Pattern: the shortest way to complete a text under regular expressions and bounds of length.

A small automaton of states and sets of characters (Thompson's), of which each state knows how many characters are
left to an end. It reads what schemas use of regular expressions; what it cannot read has no pattern here.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Pattern", "StringRule"]

_MAX_STATES = 20_000
_MAX_EXPANSIONS = 1_000
_LAST = 0x10FFFF
_PREFERRED = "a0A1-_.:/@ "
_CLASSES = {"d": [(48, 57)], "w": [(48, 57), (65, 90), (95, 95), (97, 122)], "s": [(9, 13), (32, 32)]}
_CONTROLS = {"n": 10, "t": 9, "r": 13, "f": 12, "v": 11, "0": 0}

Ranges = tuple[tuple[int, int], ...]
_BEGIN, _END = "begin", "end"


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
        reader = _Reader(source, self._state, self._states)
        first, last = reader.read()
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


class _Reader:
    """Reads a regular expression by recursive descent: alternatives, sequences, repetitions, atoms."""

    def __init__(self, source: str, state: Callable[[], int], states: list[_State]) -> None:
        self._source = source
        self._at = 0
        self._new = state
        self._states = states

    def read(self) -> tuple[int, int]:
        out = self._alternatives()
        if self._at < len(self._source):
            raise _UnreadableError
        return out

    def _peek(self) -> str:
        return self._source[self._at : self._at + 1]

    def _take(self) -> str:
        character = self._peek()
        if not character:
            raise _UnreadableError
        self._at += 1
        return character

    def _link(self, source: int, target: int, anchor: str | None = None) -> None:
        self._states[source].free.append((anchor, target))

    def _alternatives(self) -> tuple[int, int]:
        first, last = self._new(), self._new()
        while True:
            start, end = self._sequence()
            self._link(first, start)
            self._link(end, last)
            if self._peek() != "|":
                return first, last
            self._at += 1

    def _sequence(self) -> tuple[int, int]:
        first = last = self._new()
        while self._peek() and self._peek() not in "|)":
            start, end = self._repetition()
            self._link(last, start)
            last = end
        return first, last

    def _repetition(self) -> tuple[int, int]:
        begin = self._at
        fragment = self._atom()
        after = self._at
        found = re.compile(r"[*+?]|\{(\d+)(,?)(\d*)\}").match(self._source, after)
        if not found:
            return fragment
        self._at = found.end() + (self._source[found.end() : found.end() + 1] in ("?", "+") and 1)
        end = self._at
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(found[0], (None, None))
        if least is None:
            least = int(found[1])
            most = int(found[3]) if found[3] else None if found[2] else least
        first = last = self._new()
        for i in range(most if most is not None else least + 1):
            if i:
                self._at = begin
                fragment = self._atom()
            self._link(last, fragment[0])
            if i >= least:
                self._link(last, fragment[1])
            if most is None and i == least:
                self._link(fragment[1], fragment[0])
            last = fragment[1]
        self._at = end
        return first, last

    def _atom(self) -> tuple[int, int]:
        character = self._take()
        if character == "(":
            return self._group()
        if character in "^$":
            first, last = self._new(), self._new()
            self._link(first, last, _BEGIN if character == "^" else _END)
            return first, last
        if character == ".":
            return self._one(_complement([(10, 10)]))
        if character == "[":
            return self._one(self._class())
        if character == "\\":
            return self._one(self._escape())
        if character in "*+?":
            raise _UnreadableError
        return self._one([(ord(character), ord(character))])

    def _one(self, ranges: Sequence[tuple[int, int]]) -> tuple[int, int]:
        first, last = self._new(), self._new()
        self._states[first].on = (tuple(ranges), last)
        return first, last

    def _group(self) -> tuple[int, int]:
        found = re.compile(r"\?(?::|P?<[A-Za-z_]\w*>)").match(self._source, self._at)
        if found:
            self._at = found.end()
        elif self._peek() == "?":
            raise _UnreadableError
        out = self._alternatives()
        if self._take() != ")":
            raise _UnreadableError
        return out

    def _escape(self) -> list[tuple[int, int]]:
        character = self._take()
        if character.lower() in _CLASSES:
            ranges = _CLASSES[character.lower()]
            return ranges if character.islower() else _complement(ranges)
        if character in _CONTROLS:
            return [(_CONTROLS[character],) * 2]
        if character in "xu":
            found = re.compile(r"[0-9a-fA-F]{2}" if character == "x" else r"[0-9a-fA-F]{4}").match(
                self._source, self._at
            )
            if not found:
                raise _UnreadableError
            self._at = found.end()
            return [(int(found[0], 16),) * 2]
        if character.isalnum():
            raise _UnreadableError
        return [(ord(character), ord(character))]

    def _class(self) -> list[tuple[int, int]]:
        negated = self._peek() == "^"
        self._at += negated
        ranges: list[tuple[int, int]] = []
        while self._peek() != "]" or not ranges:
            if self._source.startswith(("[", "&&", "--", "~~"), self._at):
                raise _UnreadableError
            part = self._escape() if (character := self._take()) == "\\" else [(ord(character),) * 2]
            if self._peek() == "-" and self._source[self._at + 1 : self._at + 2] not in ("]", "") and len(part) == 1:
                self._at += 1
                high = self._escape() if (character := self._take()) == "\\" else [(ord(character),) * 2]
                part = [(part[0][0], high[0][1])]
            ranges += part
        self._at += 1
        return _complement(ranges) if negated else ranges


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
