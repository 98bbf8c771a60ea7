"""Sequence: one request on its way through the engine, with all its branches. No torch here.

A sequence has one row a branch in the running batch but one sampled token a step: the branches never run apart.
"""

from __future__ import annotations

import enum
import random
from typing import TYPE_CHECKING

from la_agents.requests import Completion, Request, TokenRecord, common_prefix

if TYPE_CHECKING:
    from la_agents.engine.constraint import Constraint

__all__ = ["Fluency", "Sequence", "Status"]


class Fluency:
    """A budget of log-likelihood under the principles, as a token bucket.

    A token costs the nats by which it is less likely than the likeliest token of p_1, or, where tokens are drawn, than
    p_1's mean. Each token adds `rate`, up to `BURST`, so over an answer of n tokens the mean cost is at most
    `rate + BURST / n`. What is left bounds the support of the next token; with nothing left that is prompting alone.

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


class Status(enum.Enum):
    """Where a sequence is; each leads to the next, and FINISHED is reached from all."""

    WAITING = "waiting"
    PREFILLING = "prefilling"
    RUNNING = "running"
    FINISHED = "finished"


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

    def completion(self, tail: str, reason: str) -> Completion:
        """What the caller gets at the end, `tail` being text that had been held back."""
        return Completion(
            tail=tail,
            finish_reason=reason,
            records=tuple(self.records),
            num_rows=self.num_rows,
            num_prompt_tokens=len(self.request.reference),
            num_computed_tokens=self.num_computed_tokens,
            num_cached_tokens=self.num_cached_tokens,
        )

    def cancel(self) -> None:
        """Ask for the sequence to end at the next step; from any thread."""
        self.cancelled = True

    def next_uniform(self) -> float:
        """This step's draw from [0, 1): the sequence's own stream, so batch mates cannot disturb it."""
        return self._random.random()
