"""Texts whose tokens are parts of characters, and how a tokenizer writes and streams them."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from la_agents.engine.detokenizer import Detokenizer

__all__ = ["REPLACEMENT", "TEXTS", "decode", "encode", "stream"]

TEXTS = (
    "plain words, and some more.",
    "  two leading spaces, trailing ones  ",
    "line\n\nbreaks\tand tabs\n",
    "Ça va très bien ? Übermäßig. naïve cafe\N{COMBINING ACUTE ACCENT}s",
    "東京は晴れです。 こんにちは",
    "emoji 😀 and 👩‍👩‍👧‍👦 family, flag 🇫🇷, skin 👍🏽!",
    "مرحبا बिल्ली 🇩🇪",
    "don't , I 'm . spaces before ! punctuation ?",
)
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def decode(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True)


def stream(tokenizer: PreTrainedTokenizerFast, ids: list[int], stop: tuple[str, ...] = ()) -> list[str]:
    detokenizer = Detokenizer(tokenizer, stop)
    return [*(detokenizer.push(i) for i in ids), detokenizer.flush()]
