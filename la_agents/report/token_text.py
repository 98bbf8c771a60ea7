"""What single tokens look like: a token's text depends on what stands before it, and may be part of a character."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["TokenTexts"]

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_NUM_BEFORE = 6
"""Tokens before that decide how one decodes: leading spaces need one, a character at most four."""


class TokenTexts:
    """Reads tokens in the place where they stand, for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._special = set(tokenizer.all_special_ids)

    def of(self, token_ids: Sequence[int], before: Sequence[int]) -> list[str]:
        """What each of these tokens would look like after those `before`.

        Bytes that are no character by themselves are written as such, "⟨F0 9F⟩", and a special token by its name.
        """
        before = [*before[-_NUM_BEFORE:]]
        known = self._text(before)
        return [self._one(token, before, known) for token in token_ids]

    def _one(self, token: int, before: list[int], known: str) -> str:
        if token in self._special:
            return self._name(token)
        text = self._text([*before, token])
        new = text[len(known) :] if text.startswith(known) else ""
        return new if new and _INCOMPLETE not in new else self._in_bytes(token)

    def _in_bytes(self, token: int) -> str:
        name = self._name(token)
        if found := _BYTE.fullmatch(name):
            return f"⟨{found[1]}⟩"
        values = [_byte_of().get(character) for character in name]
        known = [value for value in values if value is not None]
        return f"⟨{bytes(known).hex(' ').upper()}⟩" if known and len(known) == len(values) else name

    def _name(self, token: int) -> str:
        return str(self._tokenizer.convert_ids_to_tokens(token))

    def _text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)) if ids else ""


@functools.cache
def _byte_of() -> dict[str, int]:
    """Byte-level BPE writes each byte as a visible character; this reads it back."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {character: byte for byte, character in bytes_to_unicode().items()}  # type: ignore[no-untyped-call]
