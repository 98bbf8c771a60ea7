"""Constraint: a grammar on its way through one answer: which tokens may come next, and how to end in time.

A grammar that must be complete when `max_tokens` is reached needs to begin its end early enough. At every step a
constraint therefore holds a plan: tokens that complete the text from here, no more of them than may still come. A
chosen token after which no such plan exists is replaced by the first of the last plan, and the rest of it follows.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from la_agents.engine.ending import Ending
from la_agents.engine.string_rules import Cursor, StringRules
from la_agents.errors import ConfigurationError, GenerationError, IncompleteAnswerError, UnsupportedModelError
from la_agents.forks import renew_in_child
from la_agents.requests import Grammar
from la_agents.requests.grammar import first_lines

if TYPE_CHECKING:
    from llguidance import LLMatcher
    from transformers import PreTrainedTokenizerBase

    from la_agents.requests import TokenRecord

__all__ = ["Constraint", "GrammarCompiler", "allowed_tokens"]

_SEARCH_TOKENS = 1024
"""How far an ending is looked for when a request comes."""

_TRIGGER_BYTES = 256
_MAX_COMPILED = 64


class _Vocabulary(Protocol):
    """What a grammar has to know of a model."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...

    @property
    def eos_token_ids(self) -> frozenset[int]: ...


class GrammarCompiler:
    """Makes constraints for one model; reads its vocabulary once (about a second for a large one).

    Args:
        loaded: The model, here or elsewhere, with a fast tokenizer.
        vocab_size: Length of its logits.

    Attributes:
        tokenizer: llguidance's form of the model's.

    Raises:
        UnsupportedModelError: the tokenizer is not a fast one.
    """

    def __init__(self, loaded: _Vocabulary, vocab_size: int) -> None:
        from llguidance.hf import from_tokenizer
        from transformers import PreTrainedTokenizerFast

        if not isinstance(loaded.tokenizer, PreTrainedTokenizerFast):
            msg = f"Expected a fast tokenizer for a grammar, got {type(loaded.tokenizer).__name__}; load one."
            raise UnsupportedModelError(msg)
        ends = sorted(loaded.eos_token_ids) or None
        self.tokenizer = from_tokenizer(loaded.tokenizer, n_vocab=vocab_size, eos_token=ends)
        self._ending = Ending(self.tokenizer)
        self._compiled: OrderedDict[str, _Compiled] = OrderedDict()
        self._lock = threading.Lock()

    def compile(self, grammar: Grammar, budget: int) -> Constraint:
        """A constraint at its beginning, for an answer of at most `budget` tokens.

        Raises:
            ConfigurationError: the grammar is invalid, or its shortest text that was found needs more tokens.
        """
        compiled = self._remembered(grammar.source)
        with compiled.lock:
            limit = max(budget, _SEARCH_TOKENS)
            if compiled.plan is None and compiled.sought < limit:
                compiled.sought = limit
                compiled.plan = self._ending.find(compiled.matcher, limit, compiled.rules, Cursor(), num_tries=limit)
            matcher, plan = compiled.matcher.deep_copy(), compiled.plan
        if plan is not None and len(plan) > budget:
            msg = (
                f"Expected max_tokens (and the room left in the context) of at least {len(plan)} for this grammar's "
                f"shortest answer, got {budget}; raise max_tokens, or ask for less."
            )
            raise ConfigurationError(msg)
        return Constraint(grammar, matcher, self._ending, compiled.rules, None if plan is None else list(plan), budget)

    def _remembered(self, source: str) -> _Compiled:
        """What a grammar's source was compiled to; each is compiled once, and the oldest are forgotten."""
        with self._lock:
            compiled = self._compiled.get(source)
        if compiled is None:
            compiled = self._compile(source)
        with self._lock:
            compiled = self._compiled.setdefault(source, compiled)
            self._compiled.move_to_end(source)
            while len(self._compiled) > _MAX_COMPILED:
                self._compiled.popitem(last=False)
        return compiled

    def _compile(self, source: str) -> _Compiled:
        from llguidance import LLMatcher, LLParserLimits

        # Errors must not quote the grammar's state: it holds the user's text.
        matcher = LLMatcher(self.tokenizer, source, log_level=0, limits=LLParserLimits(verbose_errors=False))
        if matcher.is_error():
            msg = f"Expected a valid grammar, got one that is not: {first_lines(matcher.get_error())}."
            raise ConfigurationError(msg)
        return _Compiled(matcher, StringRules(source))


@dataclass
class _Compiled:
    """A grammar at its beginning, and the ending from there once it was sought."""

    matcher: LLMatcher
    rules: StringRules
    plan: list[int] | None = None
    sought: int = 0  # how far
    lock: threading.Lock = field(default_factory=threading.Lock)


class Constraint:
    """State of one answer; the engine's loop alone advances it.

    Attributes:
        grammar: What is followed.
        structured: Whether the next token belongs to the structured part.
        cut_short: Whether the ending was forced because `max_tokens` came near.
    """

    def __init__(
        self,
        grammar: Grammar,
        matcher: LLMatcher,
        ending: Ending,
        rules: StringRules,
        plan: list[int] | None,
        budget: int,
    ) -> None:
        self.grammar = grammar
        self.structured = grammar.trigger is None
        self.cut_short = False
        self._matcher = matcher
        self._ending = ending
        self._rules = rules
        self._cursor = Cursor()
        self._plan = plan
        self._left = budget
        self._recent = b""

    @property
    def matcher(self) -> LLMatcher:
        return self._matcher

    @property
    def aligned(self) -> bool:
        """Whether alignment shapes the next token."""
        return self.grammar.aligned or not self.structured

    @property
    def complete(self) -> bool:
        """Whether the text is complete and nothing can follow."""
        return bool(self._matcher.is_stopped()) or (self.cut_short and not self._plan)

    def follow(self, record: TokenRecord) -> TokenRecord | None:
        """`accept` the token of a record; the record to go on with, or None if the answer ends before it."""
        token = self.accept(record.token_id)
        if token is None:
            return None
        self._watch(token)
        if token == record.token_id:
            return record
        # Neither the model's choice nor the alignment's, but the grammar's.
        contributions = (0.0,) * len(record.contributions)
        return replace(
            record, token_id=token, reference_id=token, divergence=0.0, scale=0.0, contributions=contributions
        )

    def accept(self, token: int) -> int | None:
        """Advance by a chosen token that does not end the answer.

        Returns:
            The token to go on with: the chosen one, or another where only that still leads to an end in time; None if
            the answer, complete as it stands, has to end before it.

        Raises:
            GenerationError: the token is not allowed here, or the grammar grew beyond its parser's limits.
            IncompleteAnswerError: it was the last token, no ending was found in time, and the text is not complete.
        """
        if token == self._ending.end_of_sequence:  # of the tokenizer; the model's own never come here
            return None
        self._left -= 1
        if not self.cut_short:
            self._consume(token)
            before = self._cursor
            if self.structured:
                self._cursor = self._ending.advance(before, [token], self._rules)
            if self._can_end():
                return token
            self._cursor = before
            self._matcher.rollback(1)
            self.cut_short = True
        if not self._plan:
            return None
        return self._consume(self._plan.pop(0))

    def _consume(self, token: int) -> int:
        if not self._matcher.consume_token(token):
            msg = (
                "Expected a token that the grammar allows, got another: "
                f"{first_lines(self._matcher.get_error())}; simplify the schema or grammar."
            )
            raise GenerationError(msg)
        return token

    def _can_end(self) -> bool:
        """Look for a plan from here; whether the answer may go on."""
        if self._plan is not None:
            plan = self._ending.adapt(self._matcher, self._plan, self._left, self._rules, self._cursor)
            if plan is not None:
                self._plan = plan
            return plan is not None
        if self._left == 0 and not self._matcher.is_accepting():
            msg = (
                "Expected the answer to be complete within max_tokens, and its grammar asks for more; raise "
                "max_tokens, or use a grammar with a short text in every place."
            )
            raise IncompleteAnswerError(msg)
        return True

    def _watch(self, token: int) -> None:
        """Look for the beginning of the structured part in what was generated."""
        if self.structured or self.grammar.trigger is None:
            return
        trigger = self.grammar.trigger.encode()
        self._recent = (self._recent + self._ending.bytes_of(token))[-_TRIGGER_BYTES - len(trigger) :]
        self.structured = trigger in self._recent


_executor: Any = None
_executor_lock = threading.Lock()


def _forget_executor() -> None:
    global _executor, _executor_lock
    _executor, _executor_lock = None, threading.Lock()


renew_in_child(_forget_executor)


def allowed_tokens(constraints: Sequence[Constraint], vocab_size: int) -> NDArray[np.bool_]:
    """For each constraint the tokens that may come next, [constraints, vocab_size]; computed in parallel."""
    global _executor
    from llguidance import LLExecutor
    from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask, fill_next_token_bitmask_par

    bits = allocate_token_bitmask(len(constraints), vocab_size)
    if len(constraints) == 1:
        fill_next_token_bitmask(constraints[0].matcher, bits)
    else:
        with _executor_lock:
            _executor = _executor or LLExecutor()
        fill_next_token_bitmask_par(_executor, [(c.matcher, i) for i, c in enumerate(constraints)], bits)
    return unpacked(bits, vocab_size)


def unpacked(bits: NDArray[np.int32], vocab_size: int) -> NDArray[np.bool_]:
    """llguidance's bit masks as one flag a token."""
    return np.unpackbits(bits.view(np.uint8), axis=1, bitorder="little")[:, :vocab_size].astype(np.bool_)
