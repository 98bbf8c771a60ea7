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

    A special token is no text, but a stop string may name it, alone or among text.
    """

    def __init__(self, tokenizer: _Tokenizer, stop: Sequence[str] = (), *, skip_special_tokens: bool = True) -> None:
        self._tokenizer = tokenizer
        self._skip_special_tokens = skip_special_tokens
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._prefix = 0
        self._read = 0
        self._held: list[tuple[str, bool]] = []  # characters not certain yet, and whether they are text
        self.stopped = False

    def push(self, token_id: int) -> str:
        """Add a token; the text that is now certain. After a stop string `stopped` is set and nothing more comes."""
        if self.stopped:
            return ""
        self._ids.append(token_id)
        new = self._decode_new()
        if not new and self._stop:
            self._held += [(character, False) for character in self._mark(token_id)]
        return self._release(new)

    def ignore_stops(self) -> None:
        """From here on no string ends the answer: a grammar does."""
        self._stop = ()

    def flush(self) -> str:
        """End of the answer: what was held back, less an incomplete last character."""
        if self.stopped:
            return ""
        rest = self._text(self._ids[self._prefix :])[len(self._text(self._ids[self._prefix : self._read])) :]
        text = self._release(rest.rstrip(_INCOMPLETE))
        return text if self.stopped else text + self._take(len(self._held))

    def _decode_new(self) -> str:
        known = self._text(self._ids[self._prefix : self._read])
        text = self._text(self._ids[self._prefix :])
        if len(text) <= len(known) or text.endswith(_INCOMPLETE):
            return ""
        self._prefix, self._read = self._read, len(self._ids)
        return text[len(known) :]

    def _mark(self, token_id: int) -> str:
        """How a special token is spelled that is not shown, if it is part of a stop string."""
        if not self._skip_special_tokens or self._text([token_id]):
            return ""
        mark = str(self._tokenizer.decode([token_id], skip_special_tokens=False))
        return mark if mark and any(mark in stop for stop in self._stop) else ""

    def _release(self, text: str) -> str:
        """Add text; what can be no part of a stop string any more, sought with special tokens and without."""
        self._held += [(character, True) for character in text]
        places = [i for i, (_, is_text) in enumerate(self._held) if is_text]
        found, begun = [], [len(self._held)]
        for view in (range(len(self._held)), places):
            seen = "".join(self._held[i][0] for i in view)
            found += [view[at] for stop in self._stop if (at := seen.find(stop)) >= 0]
            begun += [view[len(seen) - n] for stop in self._stop if (n := _overlap(seen, stop))]
        if not found:
            return self._take(min(begun))
        self.stopped = True
        certain, self._held = self._take(min(found)), []
        return certain

    def _take(self, num_characters: int) -> str:
        taken, self._held = self._held[:num_characters], self._held[num_characters:]
        return "".join(character for character, is_text in taken if is_text)

    def _text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=self._skip_special_tokens)) if ids else ""


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
