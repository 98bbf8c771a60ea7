"""Tool calls out of a stream of text: what is text for the user, and what is a part of which call.

The grammar guarantees the form: once a call is open, the stream holds the format's texts and one JSON object a call.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from la_agents.prompts.call_format import CallFormat

__all__ = ["CallDelta", "CallParser"]


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A part of one call: its name and id when it begins, then its arguments' JSON bit by bit."""

    index: int
    arguments: str = ""
    name: str | None = None
    id: str | None = None


class CallParser:
    """Follows one answer.

    Attributes:
        num_calls: How many have begun.
    """

    def __init__(self, format_: CallFormat) -> None:
        self._format = format_
        self._pending = ""
        self._expected: str | None = None  # the format's own text that comes next; None: free text
        self._arguments: _JsonObject | None = None
        self.num_calls = 0

    def push(self, text: str) -> Iterator[str | CallDelta]:
        """Text for the user, and parts of calls, as far as they are certain."""
        self._pending += text
        progress = True
        while progress:
            progress = False
            for delta in self._step():
                progress = True
                if delta != "":
                    yield delta

    def flush(self) -> str:
        """End of the answer: text that was held back."""
        text, self._pending = self._pending, ""
        return text if self._expected is None and self._arguments is None and not self.num_calls else ""

    def _step(self) -> Iterator[str | CallDelta]:
        if self._arguments is not None:
            yield from self._take_arguments(self._arguments)
        elif self._expected is None:
            yield from self._take_text()
        elif len(self._pending) >= len(self._expected) and self._format.middle in self._pending:
            yield self._begin_call(self._expected)

    def _take_text(self) -> Iterator[str]:
        trigger = self._format.trigger
        at = self._pending.find(trigger)
        if at >= 0:
            text, self._pending = self._pending[:at].rstrip(), self._pending[at + len(trigger) :]
            self._expected = self._format.after_trigger
            yield text
            return
        keep = next((n for n in range(len(trigger) - 1, 0, -1) if self._pending.endswith(trigger[:n])), 0)
        certain = self._pending[: len(self._pending) - keep].rstrip()  # space before a call is the call's
        if certain:
            self._pending = self._pending[len(certain) :]
            yield certain

    def _begin_call(self, expected: str) -> CallDelta:
        name, _, self._pending = self._pending[len(expected) :].partition(self._format.middle)
        self._arguments = _JsonObject()
        self.num_calls += 1
        return CallDelta(self.num_calls - 1, name=name, id=f"call_{uuid.uuid4().hex[:24]}")

    def _take_arguments(self, arguments: _JsonObject) -> Iterator[CallDelta]:
        length = arguments.feed(self._pending)
        taken, self._pending = self._pending[:length], self._pending[length:]
        if arguments.complete:
            self._arguments, self._expected = None, self._format.separator or self._format.closing
        if taken:
            yield CallDelta(self.num_calls - 1, taken)


class _JsonObject:
    """Finds where an object ends."""

    def __init__(self) -> None:
        self._text = ""
        self.complete = False

    def feed(self, text: str) -> int:
        """How many characters of `text` belong to it."""
        before, self._text = len(self._text), self._text + text
        if "}" in text:
            with contextlib.suppress(ValueError):  # it goes on
                self.complete = True
                return json.JSONDecoder().raw_decode(self._text)[1] - before
            self.complete = False
        return len(text)
