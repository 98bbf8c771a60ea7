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
PRINCIPLE_TOP_P = 0.8
"""Mass of the nucleus in the authors' code of Linear Alignment."""
PLAUSIBILITY = 0.1
"""alpha of contrastive decoding's support, as published."""
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
    """How far the principles move the logits (`la_agents.alignment`). None takes the method's own (`guidance.PRESETS`).

    Attributes:
        method: The rule that says how far (`la_agents.guidance`).
        strength: gamma from -1 to 1e6; 0 is prompting alone, -1 the reference inside the support. For "amulet" the
            factor on its alpha, from 0 to 2; 1 is as published.
        support: Which tokens may be chosen: "nucleus", "plausible" or "all" (`la_agents.alignment.support`). None takes
            the one whose number is given below, else the method's own.
        principle_top_p: Mass of the nucleus of f(1), 0.8 by default; 1 keeps all.
        mask_temperature: T_m of that nucleus; None takes the sampling temperature, or the authors' 0.5 if that is 0.
        plausibility: alpha of "plausible", from 0 (keeps all) to 1, 0.1 by default.
        push: How each token is moved beyond prompting: "uniform", "tapered" or "adaptive" (`la_agents.alignment.push`).
            None is "tapered" where `taper` is given, else the method's own.
        taper: kappa >= 0: 1 by default for "tapered", 0 for "adaptive".
        fluency: Nats per token by which an answer may be less likely under the principles than their own choice, as a
            running mean; None for no bound. See `Fluency`.
        max_divergence: delta in nats per token, or None for no budget.
    """

    method: guidance.Rule = guidance.DEFAULT_METHOD
    strength: float | None = None
    support: guidance.Support | None = None
    principle_top_p: float | None = None
    mask_temperature: float | None = None
    plausibility: float | None = None
    push: guidance.Push | None = None
    taper: float | None = None
    fluency: float | None = None
    max_divergence: float | None = None

    def __post_init__(self) -> None:
        _check_choice("method", self.method, get_args(guidance.Rule))
        _check_choice("support", self.support, (*get_args(guidance.Support), None))
        _check_choice("push", self.push, (*get_args(guidance.Push), None))
        if self.strength is not None:
            if self.method == "amulet":
                _check("strength of amulet", self.strength, low=0.0, high=guidance.AMULET_MAX_STRENGTH)
            _check("strength", self.strength, low=-1.0, high=MAX_FACTOR)
        if self.principle_top_p is not None:
            _check("principle_top_p", self.principle_top_p, low=0.0, high=1.0, above=True)
        if self.mask_temperature is not None:
            _check_temperature("mask_temperature", self.mask_temperature)
        if self.plausibility is not None:
            _check("plausibility", self.plausibility, low=0.0, high=1.0)
        for name in ("taper", "fluency"):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), low=0.0, high=MAX_FACTOR)
        if self.max_divergence is not None:
            _check("max_divergence", self.max_divergence, low=0.0)
        self._check_used()

    def _check_used(self) -> None:
        """Refuse a number that the support or the push asked for beside it would not look at."""
        belongs = {
            "principle_top_p": ("support", self.support, ("nucleus",)),
            "mask_temperature": ("support", self.support, ("nucleus",)),
            "plausibility": ("support", self.support or self.chosen_support, ("plausible",)),
            "taper": ("push", self.push, ("tapered", "adaptive")),
        }
        for name, (what, asked, fitting) in belongs.items():
            if getattr(self, name) is not None and asked not in (None, *fitting):
                msg = f"Expected {name} beside {what}={fitting[0]!r}, got it beside {asked!r}; leave one of them out."
                raise ConfigurationError(msg)

    @property
    def chosen_support(self) -> guidance.Support:
        """The support that is taken, whether it was asked for or not."""
        if self.support is not None:
            return self.support
        if self.principle_top_p is not None or self.mask_temperature is not None:
            return "nucleus"
        return "plausible" if self.plausibility is not None else guidance.PRESETS[self.method].support

    @property
    def chosen_push(self) -> guidance.Push:
        """The push that is taken, whether it was asked for or not."""
        if self.push is not None:
            return self.push
        return "tapered" if self.taper is not None else guidance.PRESETS[self.method].push

    @property
    def chosen_strength(self) -> float:
        """gamma, the method's own where none was asked for."""
        return guidance.PRESETS[self.method].strength if self.strength is None else self.strength

    @property
    def scale(self) -> float:
        """The s of `f(s)` that is aimed at; a budget may stop short of it."""
        return guidance.scale(self.method, self.chosen_strength)

    @property
    def support_p(self) -> float:
        """Mass of the nucleus; 1 where the support is another."""
        if self.chosen_support != "nucleus":
            return 1.0
        return PRINCIPLE_TOP_P if self.principle_top_p is None else self.principle_top_p

    @property
    def log_plausibility(self) -> float:
        """log alpha; -inf where the support is another."""
        alpha = PLAUSIBILITY if self.plausibility is None else self.plausibility
        return math.log(alpha) if self.chosen_support == "plausible" and alpha > 0 else -math.inf

    @property
    def kappa(self) -> float:
        """The taper; 0 where all tokens of a step are moved alike."""
        if self.chosen_push == "uniform":
            return 0.0
        return float(self.chosen_push == "tapered") if self.taper is None else self.taper


class Fluency:
    """What an answer may still give away of its likelihood under the principles: a bucket that fills with every token.

    A token costs what it is less likely than the principles' own choice, the likeliest token of p_1, or, where tokens
    are drawn, than what p_1 gives on average. Each token brings in `rate`, and no more than `BURST` is kept, so over an
    answer of n tokens the mean cost is at most `rate + BURST / n`. What is left bounds the support of the next token:
    with an empty bucket it is the principles' own choice, which is prompting alone.

    Attributes:
        left: Nats that the next token may cost.
    """

    BURST = 3.0

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.left = self.BURST

    def spend(self, nats: float) -> None:
        """Account for a token."""
        self.left = min(self.BURST, max(0.0, self.left - nats) + self._rate)


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
        divergence: KL(pi || pi_0) of this step in nats, of the policy that the token was chosen from, support and push
            included and before `top_p`; 0 for an unaligned sequence.
        scale: The s at which the chosen token stands: `1 + strength`, less where the push is tapered and the token not
            the principles' likeliest, and less under a divergence budget.
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
        fluency: What bounds how unlikely its next token may be, or None.
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
        rate = request.alignment.fluency if request.branches else None
        self.fluency = None if rate is None else Fluency(rate)
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


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        msg = f"Expected {name} to be one of {', '.join(str(c) for c in choices)}, got {value!r}."
        raise ConfigurationError(msg)


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
