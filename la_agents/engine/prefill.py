"""Prefill: how a sequence's prompts are computed before it can run. No torch here; keys and values pass through opaque.

A sequence whose rows begin alike first computes the prefix they share once, then each row's rest from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Any

from la_agents.engine.sequence import Sequence

__all__ = ["Prefill", "PrefillRow", "fair_order", "plan_prefill"]

_MIN_TOKENS_SAVED = 16
"""A shared prefix costs a forward of its own, worth very roughly this many tokens of prompt on a CPU."""


@dataclass
class PrefillRow:
    """One row's prompt, or the shared prefix, and how much of it is computed.

    Attributes:
        parts: Keys and values from the first token on, in order (the runner's; opaque here).
        num_done: Tokens that `parts` covers.
        logits: After the last token, once done.
    """

    sequence: Sequence
    tokens: tuple[int, ...]
    parts: list[Any] = field(default_factory=list)
    num_done: int = 0
    logits: Any = None

    @property
    def num_left(self) -> int:
        return len(self.tokens) - self.num_done

    def advance(self, num_tokens: int, part: Any) -> None:
        self.parts.append(part)
        self.num_done += num_tokens


class Prefill:
    """A sequence's rows on their way into the batch.

    Args:
        cached: For each row, the cached parts and how many tokens they cover (0 of them if none).
    """

    def __init__(self, sequence: Sequence, cached: SequenceOf[tuple[list[Any], int]], *, share: bool = True) -> None:
        self.sequence = sequence
        prompts = sequence.request.prompts
        self.rows = [
            PrefillRow(sequence, prompt, list(parts), num) for prompt, (parts, num) in zip(prompts, cached, strict=True)
        ]
        sequence.num_cached_tokens = sum(num for _, num in cached)
        self._shared = self._find_shared_prefix() if share else None

    def _find_shared_prefix(self) -> PrefillRow | None:
        common = self.sequence.num_common_tokens
        first = max(self.rows, key=lambda row: min(row.num_done, common))
        saved = sum(max(common - row.num_done, 0) for row in self.rows) - max(common - first.num_done, 0)
        if first.num_done > common or saved < _MIN_TOKENS_SAVED:
            return None
        return PrefillRow(self.sequence, first.tokens[:common], list(first.parts), first.num_done)

    @property
    def pending(self) -> list[PrefillRow]:
        """Rows that can be computed now: the shared prefix alone, then all that are not done."""
        if self._shared is not None:
            if self._shared.num_left:
                return [self._shared]
            self._start_rows_from(self._shared)
            self._shared = None
        return [row for row in self.rows if row.num_left]

    @property
    def num_left(self) -> int:
        """Tokens still to be computed, those of the shared prefix once."""
        pending = self.pending
        if self._shared is None:
            return sum(row.num_left for row in pending)
        common = len(self._shared.tokens)
        return self._shared.num_left + sum(len(row.tokens) - max(row.num_done, common) for row in self.rows)

    def _start_rows_from(self, shared: PrefillRow) -> None:
        for row in self.rows:
            if row.num_done < shared.num_done:
                row.parts, row.num_done = list(shared.parts), shared.num_done

    @property
    def done(self) -> bool:
        return not self.pending


def fair_order(prefills: SequenceOf[Prefill], turn: int) -> list[Prefill]:
    """The order for one step: alternately by arrival, and by the tokens that are left.

    So a short prompt waits for one step of a long one, not for all of it, and the first to come gets every other step.
    """
    return list(prefills) if turn % 2 else sorted(prefills, key=lambda prefill: prefill.num_left)


def plan_prefill(prefills: SequenceOf[Prefill], budget: int) -> list[tuple[PrefillRow, int]]:
    """What to compute in the next step, in this order: rows and how many tokens of each.

    `rows x longest chunk`, padding included, stays within `budget` tokens; one row alone gets a chunk of that size.
    """
    plan: list[tuple[PrefillRow, int]] = []
    width = 0
    for row in _pending_rows(prefills):
        size = max(width, min(row.num_left, budget))
        if plan and (len(plan) + 1) * size > budget:
            # A row that does not fit whole beside the others takes what is left of the budget.
            size = budget // (len(plan) + 1)
            if size < width:
                break
        width = max(width, min(size, row.num_left))
        plan.append((row, min(size, row.num_left)))
    return plan


def _pending_rows(prefills: SequenceOf[Prefill]) -> Iterator[PrefillRow]:
    for prefill in prefills:
        yield from prefill.pending
