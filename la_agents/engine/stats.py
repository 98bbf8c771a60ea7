"""Stats: what the engine has done and where its time went; a snapshot for logs and exporters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Meter", "Stats"]

_COUNTED = ("steps", "generated_tokens", "decoded_rows", "prefilled_tokens", "finished", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot; counts and seconds since the engine started.

    Attributes:
        num_rows: Rows held by admitted sequences.
        num_waiting: Requests in the queue.
        num_running: Admitted sequences.
        num_decoded_rows: Rows computed one token at a time; on a GPU with one more for an answer that ends while others
            go on.
        num_finished: Requests that ended with an answer; `num_failed` with an error, `num_cancelled` with neither.
        prefix_hit_rate: Share of prompt tokens found in the prefix cache.
        row_bytes: Bytes of keys and values of the running rows.
        sampler_seconds: In alignment and choice.
        rest_seconds: In the loop's own Python.
        tokens_per_second: Generated tokens over all busy time.
    """

    num_rows: int
    num_waiting: int
    num_running: int
    num_steps: int
    num_generated_tokens: int
    num_decoded_rows: int
    num_prefilled_tokens: int
    num_finished: int
    num_failed: int
    num_cancelled: int
    prefix_hit_rate: float
    prefix_bytes: int
    row_bytes: int
    prefill_seconds: float
    decode_seconds: float
    sampler_seconds: float
    rest_seconds: float
    tokens_per_second: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Meter:
    """Counts and times, written by the loop alone; reading a number from another thread is safe."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(_COUNTED, 0)
        self.seconds = dict.fromkeys(("prefill", "decode", "sampler", "step"), 0.0)

    def add(self, name: str, number: int = 1) -> None:
        self.counts[name] += number

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    @property
    def rest_seconds(self) -> float:
        parts = self.seconds
        return max(parts["step"] - parts["prefill"] - parts["decode"] - parts["sampler"], 0.0)
