"""Detokenizer: token ids in, text out, never half a character and never past a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["Detokenizer"]

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


class _Tokenizer(Protocol):
    def decode(self, token_ids: list[int], skip_special_tokens: bool = ..., **kwargs: Any) -> str | list[str]: ...


class Detokenizer:
    """Text of one answer, token by token.

    A tokenizer's decoding of a token depends on its neighbours (leading spaces, bytes of one character), so each step
    decodes the last few tokens twice, with and without the new one, and takes the difference; while the text ends in
    an incomplete character it waits. Text that may be the start of a stop string waits as well.
    """

    def __init__(self, tokenizer: _Tokenizer, stop: Sequence[str] = (), *, skip_special_tokens: bool = True) -> None:
        self._tokenizer = tokenizer
        self._skip_special_tokens = skip_special_tokens
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._prefix = 0
        self._read = 0
        self._pending = ""
        self.stopped = False

    def push(self, token_id: int) -> str:
        """Add a token; the text that is now certain. After a stop string `stopped` is set and nothing more comes."""
        if self.stopped:
            return ""
        self._ids.append(token_id)
        return self._release(self._decode_new())

    def ignore_stops(self) -> None:
        """From here on no string ends the answer: a grammar does."""
        self._stop = ()

    def flush(self) -> str:
        """End of the answer: what was held back, less an incomplete last character."""
        if self.stopped:
            return ""
        rest = self._text(self._ids[self._prefix :])[len(self._text(self._ids[self._prefix : self._read])) :]
        text = self._release(rest.rstrip(_INCOMPLETE))
        if not self.stopped:
            text, self._pending = text + self._pending, ""
        return text

    def _decode_new(self) -> str:
        known = self._text(self._ids[self._prefix : self._read])
        text = self._text(self._ids[self._prefix :])
        if len(text) <= len(known) or text.endswith(_INCOMPLETE):
            return ""
        self._prefix, self._read = self._read, len(self._ids)
        return text[len(known) :]

    def _release(self, text: str) -> str:
        self._pending += text
        found = [at for at in (self._pending.find(s) for s in self._stop) if at >= 0]
        if found:
            self.stopped = True
            certain, self._pending = self._pending[: min(found)], ""
            return certain
        keep = max((_overlap(self._pending, s) for s in self._stop), default=0)
        certain = self._pending[: len(self._pending) - keep]
        self._pending = self._pending[len(certain) :]
        return certain

    def _text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=self._skip_special_tokens)) if ids else ""


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
