"""Ending: a short way to complete a text under a grammar, found by trying the tokens that close what is open.

An upper bound that is cheap to find, not always the shortest one. llguidance tells what is allowed, not what leads to
an end. The search prefers, in this order: what the rules of the grammar's strings say, what closes JSON, tokens that
begin with bytes not tried yet, bytes that have just become allowed, long tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from la_agents.engine.string_rules import Cursor, StringRules

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

__all__ = ["Ending"]

_CLOSING = (b"}", b"]", b'"', b'"}', b'"]', b",", b":")  # first choice first
_CLOSING_IN_STRING = (b'"', b'"}', b'"]')
_INSIDE_STRING = (b"}", b";")  # allowed together only there
_VALUES = (b"0", b"null", b"1", b"true", b"[", b"{")  # the cheapest first
_ANYTHING = 100  # different bytes allowed, above which trying one after the other leads nowhere
_MAX_LENGTH = 64
_MAX_TRIES = 256


class Ending:
    """Finds endings for one vocabulary; keeps nothing of any text.

    Args:
        tokenizer: llguidance's view of the vocabulary.
    """

    def __init__(self, tokenizer: LLTokenizer) -> None:
        size = tokenizer.vocab_size
        self._tokenizer = tokenizer
        self.end_of_sequence = tokenizer.eos_token
        self._bytes = [tokenizer.decode_bytes([token]) for token in range(size)]
        lengths = np.array([min(len(text), _MAX_LENGTH) for text in self._bytes], dtype=np.int64)
        special = np.array([tokenizer.is_special_token(token) for token in range(size)])
        self._longest = np.where(special, 0, lengths)
        self._first_byte = np.array([text[0] if text else 0 for text in self._bytes], dtype=np.uint8)
        self._closing = self._ranks(_CLOSING) * ~special
        self._values = self._ranks(_VALUES) * ~special
        self._closing_in_string = self._tokens(_CLOSING_IN_STRING)
        self._inside_string = self._tokens(_INSIDE_STRING)
        self._quote = next((token for token, text in enumerate(self._bytes) if text == b'"'), None)

    def _tokens(self, texts: tuple[bytes, ...]) -> NDArray[np.int64]:
        return np.array([token for token, text in enumerate(self._bytes) if text in texts], dtype=np.int64)

    def _ranks(self, texts: tuple[bytes, ...]) -> NDArray[np.int64]:
        ranks = {text: len(texts) - i for i, text in enumerate(texts)}
        return np.array([ranks.get(text.strip(), 0) for text in self._bytes], dtype=np.int64)

    def bytes_of(self, token: int) -> bytes:
        return self._bytes[token]

    def find(
        self,
        matcher: LLMatcher,
        limit: int,
        rules: StringRules,
        cursor: Cursor,
        num_tries: int = _MAX_TRIES,
        enough: int = 0,
    ) -> list[int] | None:
        """At most `limit` tokens that complete the text; None if no such ending was found.

        Args:
            matcher: Where the text is by its grammar; left as it is.
            limit: Tokens that may come.
            rules: Of the grammar.
            cursor: Where the text is.
            num_tries: Steps to look for, those that the grammar forces not counted.
            enough: Bytes up to which the end of a string need not be the shortest.
        """
        # Alternating between the options of a recursive value may never end; keeping to one of them may (steady).
        for steady in (False, True):
            plan = self._find(matcher, limit, rules, cursor, num_tries, enough, steady=steady)
            if plan is not None:
                return plan
        return None

    def _find(
        self,
        matcher: LLMatcher,
        limit: int,
        rules: StringRules,
        cursor: Cursor,
        num_tries: int,
        enough: int,
        *,
        steady: bool,
    ) -> list[int] | None:
        plan: list[int] = []
        trial = matcher.deep_copy()
        tried, before = np.zeros(256, dtype=np.int64), np.ones(256, dtype=np.bool_)
        while not trial.is_accepting():
            step = trial.compute_ff_tokens()
            if not step:
                num_tries -= 1
                if num_tries < 0:
                    return None
                step = self._by_rules(trial, rules, cursor, enough)
            if not step:
                allowed = self._allowed(trial)
                if not len(allowed):
                    return None
                now = np.zeros(256, dtype=np.bool_)
                now[self._first_byte[allowed]] = True
                step = [self._choose(allowed, tried, now & ~before, steady=steady)]
                before = now
            plan += step
            if len(plan) > limit or not trial.consume_tokens(step):
                return None
            np.add.at(tried, self._first_byte[step], 1)
            cursor = self.advance(cursor, step, rules)
        return plan

    def advance(self, cursor: Cursor, tokens: Sequence[int], rules: StringRules) -> Cursor:
        """Where the text is after some tokens."""
        return cursor.after(b"".join(self._bytes[token] for token in tokens), keep_text=rules.about_text)

    def _by_rules(self, trial: LLMatcher, rules: StringRules, cursor: Cursor, enough: int) -> list[int]:
        """Tokens that complete what is open, as the first rule says that fits here."""
        if cursor.string is not None and self._quote is not None and trial.validate_tokens([self._quote]):
            return []
        for text in rules.completions(cursor, enough):
            tokens: list[int] = self._tokenizer.greedy_tokenize(text)
            if trial.validate_tokens(tokens) == len(tokens):
                return tokens
        return []

    def adapt(
        self, matcher: LLMatcher, plan: list[int], limit: int, rules: StringRules, cursor: Cursor
    ) -> list[int] | None:
        """An ending from here, given the one of a token ago: most tokens leave its tail as it was."""
        if matcher.is_accepting():
            return []
        for skipped in (1, 2, 3, 0):
            tail = plan[skipped:]
            if tail and len(tail) <= limit and self._completes(matcher, tail):
                return tail
        return self.find(matcher, limit, rules, cursor, enough=limit // 2)

    def _completes(self, matcher: LLMatcher, tail: list[int]) -> bool:
        return bool(matcher.validate_tokens([*tail, self.end_of_sequence]) == len(tail) + 1)

    def _allowed(self, matcher: LLMatcher) -> NDArray[np.int64]:
        bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        return np.flatnonzero(np.unpackbits(bits, bitorder="little")[: len(self._longest)])

    def _choose(
        self, allowed: NDArray[np.int64], tried: NDArray[np.int64], new: NDArray[np.bool_], *, steady: bool
    ) -> int:
        closing = self._closing[allowed]
        if len(self._inside_string) and np.isin(self._inside_string, allowed, assume_unique=True).all():
            closing = np.where(np.isin(allowed, self._closing_in_string), closing, 0)
        if closing.any():
            return int(allowed[closing.argmax()])
        first = self._first_byte[allowed]
        if len(np.unique(first)) > _ANYTHING:
            return int(allowed[self._longest[allowed].argmax()])
        if steady:
            same = allowed[first == first.max()]
            return int(same[self._longest[same].argmax()])
        untried = tried[first] == tried[first].min()
        allowed, first = allowed[untried], first[untried]
        if new[first].any():
            allowed = allowed[new[first]]
        return int(allowed[(_MAX_LENGTH * self._values[allowed] + self._longest[allowed]).argmax()])
