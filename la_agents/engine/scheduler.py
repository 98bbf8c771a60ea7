"""Scheduler: who waits, who prefills, who runs, within limits. No torch: the policy is tested without a model."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from la_agents.engine.sequence import Sequence, Status
from la_agents.errors import EngineBusyError, RequestTooLargeError
from la_agents.requests.checks import check, check_integer

__all__ = ["Limits", "Scheduler"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one engine takes on.

    Attributes:
        max_rows: Rows in the running batch; an aligned sequence has 1 + k.
        max_cached_tokens: Slots of keys and values, reserved at admission: rows x longest row, over all lanes. On a CPU
            a cache rounds rows up to a power of two and slots to 256, and may hold up to about twice as many. On a GPU
            it is one reservation of this size, made when the first request comes.
        gpu_memory: Share of what is free on the GPU beside the model that this reservation may take; where that is less
            than `max_cached_tokens`, it is the limit.
        max_waiting: Requests in the queue beyond those admitted; one more is refused.
        prefill_budget: Prompt tokens computed in one step, so that a long prompt delays running streams by no more.
        max_positions: The model's context, in tokens.
    """

    max_rows: int = 64
    max_cached_tokens: int = 131_072
    gpu_memory: float = 0.9
    max_waiting: int = 256
    prefill_budget: int = 256
    max_positions: int = 1 << 30

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_cached_tokens", "max_waiting", "prefill_budget", "max_positions"):
            check_integer(name, getattr(self, name), low=1)
        check("gpu_memory", self.gpu_memory, low=0.0, high=1.0, above=True)


_MAX_LANES = 4
_MAX_PASSED = 16


class Scheduler:
    """First come, first served, except that long sequences do not hold up the others.

    Rows stand side by side in lanes of rows x longest row slots; each lane costs a forward of its own a step. A
    sequence joins the lane that grows least, or gets one of its own where that would take too many slots. One that
    waits for slots, not for rows, may be overtaken `_MAX_PASSED` times by others that fit.
    """

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
        """Move those into the batch that fit, each into its lane."""
        admitted: list[Sequence] = []
        passed: list[Sequence] = []
        num_rows, lanes = self.num_rows, self.lanes
        for sequence in list(self.waiting):
            if num_rows + sequence.num_rows > self.limits.max_rows:
                break
            lane = self._lane_for(sequence, lanes)
            if lane is not None:
                self.waiting.remove(sequence)
                sequence.status, sequence.lane = Status.PREFILLING, lane
                self.admitted.append(sequence)
                admitted.append(sequence)
                num_rows, lanes = self.num_rows, self.lanes
                for other in passed:
                    other.num_passed_by += 1
            else:
                passed.append(sequence)
            if any(other.num_passed_by >= _MAX_PASSED for other in passed):
                break
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

    @property
    def lanes(self) -> dict[int, tuple[int, int]]:
        """Each lane's rows and the length of its longest one."""
        lanes: dict[int, tuple[int, int]] = {}
        for sequence in self.admitted:
            rows, longest = lanes.get(sequence.lane, (0, 0))
            lanes[sequence.lane] = rows + sequence.num_rows, max(longest, self.reserved_length(sequence))
        return lanes

    def _lane_for(self, sequence: Sequence, lanes: dict[int, tuple[int, int]]) -> int | None:
        """The lane that grows least by taking the sequence, else a free one; None if it fits in neither."""
        rows, length = sequence.num_rows, self.reserved_length(sequence)
        room = self.limits.max_cached_tokens - sum(r * longest for r, longest in lanes.values())
        growth = {lane: (r + rows) * max(longest, length) - r * longest for lane, (r, longest) in lanes.items()}
        best = min(growth, key=growth.__getitem__, default=None)
        if best is not None and growth[best] <= room:
            return best
        free = next((lane for lane in range(_MAX_LANES) if lane not in lanes), None)
        return free if rows * length <= room else None
