"""Random walks: texts that a grammar allows, byte by byte, without any model."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from la_agents.requests import Grammar
from la_agents.structure.json_schema import narrowed

__all__ = ["accepts", "walks"]

_CLOSING = frozenset(b'"}],:')


@functools.cache
def _bytes() -> LLTokenizer:
    return LLTokenizer("byte")


def walks(grammar: Grammar, number: int, *, seed: int = 0, longest: int = 400) -> Iterator[str]:
    """Texts of a grammar by allowed bytes at random, the more willing to close the longer they get.

    Those that are not complete after `longest` bytes are left out; a dead end is an error.
    """
    start = LLMatcher(_bytes(), grammar.source, log_level=0)
    for i in range(number):
        rng, matcher, written = random.Random(f"{seed} {i}"), start.deep_copy(), bytearray()
        while len(written) < longest:
            bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
            allowed = np.flatnonzero(np.unpackbits(bits, bitorder="little")[:256]).tolist()
            if matcher.is_accepting() and (not allowed or rng.random() < 0.3):
                yield written.decode()
                break
            closing = [byte for byte in allowed if byte in _CLOSING]
            wants_end = closing and rng.random() < 0.15 + len(written) / longest
            written.append(rng.choice(closing if wants_end else allowed))
            assert matcher.consume_token(written[-1]), f"a dead end after {bytes(written)!r}: {matcher.get_error()}"


def accepts(schema: Any, value: Any) -> bool:
    """Whether what is decoded for a schema can be this value."""
    matcher = LLMatcher(_bytes(), Grammar.json_schema(narrowed(schema)).source, log_level=0)
    written = list(json.dumps(value, ensure_ascii=False).encode())
    return matcher.try_consume_tokens(written) == len(written) and matcher.is_accepting()
