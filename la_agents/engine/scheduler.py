"""Scheduler: who waits, who prefills, who runs, within limits. No torch: the policy is tested without a model."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from la_agents.engine.sequence import Sequence, Status
from la_agents.errors import ConfigurationError, EngineBusyError, RequestTooLargeError

__all__ = ["Limits", "Scheduler"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one engine takes on.

    Attributes:
        max_rows: Rows in the running batch; an aligned sequence has 1 + k.
        max_cached_tokens: Slots of keys and values, rows x longest row, reserved at admission. The cache rounds rows up
            to a power of two and slots to 256, so it may hold up to about twice as many.
        max_waiting: Requests in the queue beyond those admitted; one more is refused.
        prefill_budget: Prompt tokens computed in one step, so that a long prompt delays running streams by no more.
        max_positions: The model's context, in tokens.
    """

    max_rows: int = 64
    max_cached_tokens: int = 131_072
    max_waiting: int = 256
    prefill_budget: int = 256
    max_positions: int = 1 << 30

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_cached_tokens", "max_waiting", "prefill_budget", "max_positions"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                msg = f"Expected {name} to be an integer of at least 1, got {value!r}."
                raise ConfigurationError(msg)


class Scheduler:
    """First come, first served: the head of the queue is admitted as soon as it fits, and nobody passes it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.waiting: deque[Sequence] = deque()
        self.admitted: list[Sequence] = []

    @property
    def num_rows(self) -> int:
        """Rows of all admitted sequences, prefilling or running."""
        return sum(s.num_rows for s in self.admitted)

    def check(self, sequence: Sequence) -> None:
        """Refuse what could never run.

        Raises:
            RequestTooLargeError: the prompt fills the model's context, or the sequence alone exceeds a limit.
        """
        limits, longest = self.limits, max(map(len, sequence.request.prompts))
        if longest >= limits.max_positions:
            msg = (
                f"Expected a prompt shorter than the model's context of {limits.max_positions} tokens, got {longest}; "
                "shorten the prompt or choose a model with a longer context."
            )
            raise RequestTooLargeError(msg)
        if sequence.num_rows > limits.max_rows:
            msg = (
                f"Expected at most {limits.max_rows} rows a request (max_rows), got {sequence.num_rows} "
                f"(1 reference + {sequence.num_rows - 1} branches); use fewer principles, or compose='joint'."
            )
            raise RequestTooLargeError(msg)
        slots = sequence.num_rows * self.reserved_length(sequence)
        if slots > limits.max_cached_tokens:
            msg = (
                f"Expected at most {limits.max_cached_tokens} cached tokens a request (max_cached_tokens), got {slots} "
                f"({sequence.num_rows} rows); lower max_tokens, shorten the prompt or raise the limit."
            )
            raise RequestTooLargeError(msg)

    def submit(self, sequence: Sequence) -> None:
        """Queue a sequence.

        Raises:
            RequestTooLargeError: see `check`.
            EngineBusyError: the queue is full.
        """
        self.check(sequence)
        if len(self.waiting) >= self.limits.max_waiting:
            msg = (
                f"Expected at most {self.limits.max_waiting} waiting requests (max_waiting), and the queue is full; "
                "try again later."
            )
            raise EngineBusyError(msg)
        self.waiting.append(sequence)

    def admit(self) -> list[Sequence]:
        """Move the head of the queue into the batch while it fits."""
        admitted = []
        while self.waiting and self._fits(self.waiting[0]):
            sequence = self.waiting.popleft()
            sequence.status = Status.PREFILLING
            self.admitted.append(sequence)
            admitted.append(sequence)
        return admitted

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence wherever it is; its rows count no more."""
        sequence.status = Status.FINISHED
        if sequence in self.admitted:
            self.admitted.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def reserved_length(self, sequence: Sequence) -> int:
        """Tokens the sequence's longest row may come to hold."""
        longest = max(map(len, sequence.request.prompts))
        return min(longest + sequence.request.sampling.max_tokens, self.limits.max_positions)

    def _fits(self, sequence: Sequence) -> bool:
        rows = self.num_rows + sequence.num_rows
        longest = max(map(self.reserved_length, [*self.admitted, sequence]))
        return rows <= self.limits.max_rows and rows * longest <= self.limits.max_cached_tokens
