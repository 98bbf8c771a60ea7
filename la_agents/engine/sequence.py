"""Sequence: one request on its way through the engine, with all its branches. No torch here.

A sequence has one row a branch in the running batch but one sampled token a step: the branches never run apart.
"""

from __future__ import annotations

import enum
import math
import random
import sys
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from la_agents import guidance
from la_agents.errors import ConfigurationError

if TYPE_CHECKING:
    from la_agents.engine.constraint import Constraint
    from la_agents.engine.grammar import Grammar

__all__ = ["Alignment", "Candidate", "Request", "Sampling", "Sequence", "Status", "TokenRecord"]

MIN_TEMPERATURE = 1e-10
"""The smallest that is not 0. What is left is greedy long before, and logits divided by much less overflow float32."""
_LARGEST = sys.float_info.max
MAX_FACTOR = 1e6
"""Of temperatures, strengths and weights: far beyond any use, and `f(s) / T` stays finite in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a token is chosen among the aligned logits, and when to stop.

    Attributes:
        temperature: T, 0 for greedy or from 1e-10 to 1e6.
        top_p: Mass of the nucleus that sampling draws from, in (0, 1]; its likeliest token is always in it.
        seed: An integer >= 0. Same seed, same tokens, whatever else shares the batch; None draws a fresh one.
        max_tokens: Most tokens to generate, >= 1.
        stop: Strings that end the answer; they are not part of it.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int = 256
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_temperature("temperature", self.temperature, or_zero=True)
        _check("top_p", self.top_p, low=0.0, high=1.0, above=True)
        _check_integer("max_tokens", self.max_tokens, low=1)
        if self.seed is not None:
            _check_integer("seed", self.seed, low=0)
        if isinstance(self.stop, str) or not all(isinstance(s, str) and s for s in self.stop):
            msg = f"Expected stop to be a list of non-empty strings, got {self.stop!r}."
            raise ConfigurationError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """How far the principles move the logits (`la_agents.alignment`).

    Attributes:
        method: The rule that says how far (`la_agents.guidance`).
        strength: gamma from -1 to 1e6; 0 is prompting alone, -1 the reference inside the principles' nucleus. For
            "amulet" the factor on its alpha, from 0 to 2; 1 is as published.
        principle_top_p: Mass of the support, the nucleus of f(1); 1 switches the mask off. None takes the method's own:
            0.8 for "linear", no mask for the others.
        mask_temperature: T_m of that nucleus; None takes the sampling temperature, or the authors' 0.5 if that is 0.
        max_divergence: delta in nats per token, or None for no budget.
    """

    method: guidance.Rule = "linear"
    strength: float = 1.0
    principle_top_p: float | None = None
    mask_temperature: float | None = None
    max_divergence: float | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(guidance.Rule):
            msg = f"Expected method to be one of {', '.join(get_args(guidance.Rule))}, got {self.method!r}."
            raise ConfigurationError(msg)
        if self.method == "amulet":
            _check("strength of amulet", self.strength, low=0.0, high=guidance.AMULET_MAX_STRENGTH)
        _check("strength", self.strength, low=-1.0, high=MAX_FACTOR)
        if self.principle_top_p is not None:
            _check("principle_top_p", self.principle_top_p, low=0.0, high=1.0, above=True)
        if self.mask_temperature is not None:
            _check_temperature("mask_temperature", self.mask_temperature)
        if self.max_divergence is not None:
            _check("max_divergence", self.max_divergence, low=0.0)

    @property
    def scale(self) -> float:
        """The s of `f(s)` that is aimed at; a budget may stop short of it."""
        return guidance.scale(self.method, self.strength)

    @property
    def support_p(self) -> float:
        """Mass of the support, the method's own where none was asked for; 1 is no mask."""
        own = guidance.DEFAULT_PRINCIPLE_TOP_P[self.method]
        return own if self.principle_top_p is None else self.principle_top_p


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the engine is asked for: token ids of the reference prompt and of each branch's prompt.

    Attributes:
        reference: The prompt without principles.
        branches: The prompts with them, one a branch; empty decodes the reference alone.
        weights: w_i, one a branch, from 0 to 1e6.
        timeout: Seconds from submission until `DeadlineExceededError`, or None.
        salt: Keeps the prefix cache apart: beyond the first `num_public_tokens` only an equal salt finds a prefix
            again, so that no user can tell by timing or by counts what another one's prompt held. None, for a caller
            who is not known: nobody does, and nothing beyond them is kept.
        num_public_tokens: Leading tokens that are the application's and may be shared by all.
        list_candidates: Whether each token's record lists what else was likely.
        grammar: What the answer must look like, or None.
    """

    reference: tuple[int, ...]
    branches: tuple[tuple[int, ...], ...] = ()
    weights: tuple[float, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    alignment: Alignment = field(default_factory=Alignment)
    timeout: float | None = None
    salt: str | None = ""
    num_public_tokens: int = 0
    list_candidates: bool = False
    grammar: Grammar | None = None

    def __post_init__(self) -> None:
        if not self.reference or not all(self.branches):
            msg = "Expected every prompt to hold at least one token, got an empty one."
            raise ConfigurationError(msg)
        if len(self.weights) != len(self.branches):
            msg = f"Expected one weight a branch, got {len(self.weights)} for {len(self.branches)} branches."
            raise ConfigurationError(msg)
        for weight in self.weights:
            _check("a branch's weight", weight, low=0.0, high=MAX_FACTOR)
        if self.timeout is not None:
            _check("timeout", self.timeout, low=0.0, above=True)

    @property
    def max_kept_tokens(self) -> int:
        """Leading tokens of a row that the prefix cache may look up and keep."""
        return self.num_public_tokens if self.salt is None else sys.maxsize

    @property
    def prompts(self) -> tuple[tuple[int, ...], ...]:
        """All rows' prompts, the reference first."""
        return (self.reference, *self.branches)


class Status(enum.Enum):
    """Where a sequence is; each leads to the next, and FINISHED is reached from all."""

    WAITING = "waiting"
    PREFILLING = "prefilling"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that could have been chosen, with its probability under the reference and under the aligned policy.

    Both at the sampling temperature (1 where greedy), before `top_p`; 0 outside the aligned policy's support.
    """

    token_id: int
    reference: float
    aligned: float


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What alignment did to one token.

    Attributes:
        token_id: The token chosen.
        reference_id: What the reference alone would have chosen here, with the same randomness.
        divergence: KL(pi_s || pi_0) of this step, nats; 0 for an unaligned sequence.
        scale: The s that was used: `Alignment.scale` (1 + strength), or less under a divergence budget.
        shares: For each branch, `s w_i (g_i[token] - E_pi_0[g_i]) / T`: the nats by which it raised the token.
        candidates: The likeliest tokens of either policy and the chosen one, if the request asks for them.
    """

    token_id: int
    reference_id: int
    divergence: float
    scale: float
    shares: tuple[float, ...] = ()
    candidates: tuple[Candidate, ...] = ()


class Sequence:
    """A request's state; the engine's loop alone changes it.

    Attributes:
        lane: Which of the running batch's lanes its rows stand in; see `Scheduler`.
        num_passed_by: How many were admitted before it that came after it.
        rows: Their numbers in the running batch, the reference's first.
    """

    def __init__(
        self, request: Request, *, deadline: float | None = None, constraint: Constraint | None = None
    ) -> None:
        self.request = request
        self.deadline = deadline
        self.constraint = constraint
        self.status = Status.WAITING
        self.records: list[TokenRecord] = []
        self.lane = 0
        self.num_passed_by = 0
        self.rows: list[int] = []
        self.cancelled = False
        self.num_cached_tokens = 0
        self.num_computed_tokens = 0
        self._random = random.Random(request.sampling.seed)

    @property
    def num_rows(self) -> int:
        """Rows in the batch: the reference and the branches."""
        return 1 + len(self.request.branches)

    @property
    def num_generated(self) -> int:
        return len(self.records)

    @property
    def num_common_tokens(self) -> int:
        """Length of the prefix that all rows share, leaving each row at least its last token."""
        prompts = self.request.prompts
        shortest = min(map(len, prompts)) - 1
        return common_prefix(prompts, shortest)

    def cancel(self) -> None:
        """Ask for the sequence to end at the next step; from any thread."""
        self.cancelled = True

    def next_uniform(self) -> float:
        """This step's draw from [0, 1): the sequence's own stream, so batch mates cannot disturb it."""
        return self._random.random()


def common_prefix(sequences: SequenceOf[SequenceOf[int]], limit: int) -> int:
    """Number of leading items that all have in common, at most `limit`."""
    first, *others = sequences
    for i in range(max(limit, 0)):
        if any(other[i] != first[i] for other in others):
            return i
    return max(limit, 0)


def _check_temperature(name: str, value: float, *, or_zero: bool = False) -> None:
    if or_zero and type(value) in (int, float) and value == 0:
        return
    if type(value) in (int, float) and 0 < value < MIN_TEMPERATURE:
        msg = f"Expected {name} to be at least {MIN_TEMPERATURE:g}, got {value!r}; temperature=0 is greedy decoding."
        raise ConfigurationError(msg)
    _check(name, value, low=0.0, high=MAX_FACTOR, above=not or_zero)


def _check_integer(name: str, value: int, *, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        msg = f"Expected {name} to be an integer of at least {low}, got {_shown(value)}."
        raise ConfigurationError(msg)


def _check(name: str, value: float, *, low: float, high: float = math.inf, above: bool = False) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # An integer too large for a float compares all the same, and is none that a tensor could hold.
    if not number or not -_LARGEST <= value <= _LARGEST or not low <= value <= high or (above and value == low):
        bound = f"{'above' if above else 'at least'} {low:g}" + (f" and at most {high:g}" if high < math.inf else "")
        msg = f"Expected {name} to be a number {bound}, got {_shown(value)}."
        raise ConfigurationError(msg)


def _shown(value: object) -> str:
    """As Python writes it; an integer of thousands of digits cannot be written."""
    return f"an integer of {value.bit_length()} bits" if isinstance(value, int) and abs(value) >= 2**64 else repr(value)
