"""Request: what an engine is asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from la_agents.errors import ConfigurationError
from la_agents.requests.alignment import Alignment
from la_agents.requests.checks import MAX_FACTOR, check
from la_agents.requests.grammar import Grammar
from la_agents.requests.sampling import Sampling

__all__ = ["Request", "common_prefix"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the engine is asked for: token ids of the reference prompt and of each branch's prompt.

    Attributes:
        reference: The prompt without principles.
        branches: The prompts with them, one a branch; empty decodes the reference alone.
        weights: w_i, one a branch, from 0 to 1e6.
        timeout: Seconds from submission until `DeadlineExceededError`, or None.
        salt: Keeps the prefix cache apart: beyond the first `num_public_tokens` only an equal salt finds a prefix
            again, so that no user can tell by timing or by counts what another one's prompt held. None for a caller
            who is not known: nothing beyond those is found or kept.
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
            check("a branch's weight", weight, low=0.0, high=MAX_FACTOR)
        if self.timeout is not None:
            check("timeout", self.timeout, low=0.0, above=True)

    @property
    def max_kept_tokens(self) -> int:
        """Leading tokens of a row that the prefix cache may look up and keep."""
        return self.num_public_tokens if self.salt is None else sys.maxsize

    @property
    def prompts(self) -> tuple[tuple[int, ...], ...]:
        """All rows' prompts, the reference first."""
        return (self.reference, *self.branches)


def common_prefix(sequences: Sequence[Sequence[int]], limit: int) -> int:
    """Number of leading items that all have in common, at most `limit`."""
    first, *others = sequences
    for i in range(max(limit, 0)):
        if any(other[i] != first[i] for other in others):
            return i
    return max(limit, 0)
