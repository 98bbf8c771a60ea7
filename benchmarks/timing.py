"""Alternating repetitions and their summary: the machine is noisy, so only what ran side by side is compared."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from rich.progress import Progress


@dataclass(frozen=True)
class Run:
    """One measured run.

    Attributes:
        first: Seconds to the first token, median over its sequences.
        per_token: Seconds a token after the first, median over its sequences.
        tokens_per_second: All tokens of all sequences over the wall time.
        steady: Seconds a token while all of them decode, prompts and endings apart; nan where there is no such time.
    """

    first: float
    per_token: float
    tokens_per_second: float
    steady: float = math.nan


@dataclass(frozen=True)
class Summary:
    """Median, minimum and maximum over repetitions."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Summary:
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g}-{self.high:.3g})"


@dataclass
class Clock:
    """Arrival times of one sequence's tokens."""

    start: float = field(default_factory=time.perf_counter)
    times: list[float] = field(default_factory=list)

    def tick(self) -> None:
        self.times.append(time.perf_counter())


def to_run(clocks: Iterable[Clock]) -> Run:
    """One run out of the clocks of its sequences."""
    clocks = list(clocks)
    start, end = max(c.times[0] for c in clocks), min(c.times[-1] for c in clocks)
    wall = max(c.times[-1] for c in clocks) - min(c.start for c in clocks)
    return Run(
        first=statistics.median(c.times[0] - c.start for c in clocks),
        per_token=statistics.median((c.times[-1] - c.times[0]) / max(len(c.times) - 1, 1) for c in clocks),
        tokens_per_second=sum(len(c.times) for c in clocks) / wall,
        steady=statistics.median(_seconds_a_token(c, start, end) for c in clocks),
    )


def _seconds_a_token(clock: Clock, start: float, end: float) -> float:
    times = [t for t in clock.times if start <= t <= end]
    return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else math.nan


def alternate(
    cases: Mapping[str, Callable[[], Run]], repetitions: int, progress: Progress, what: str
) -> dict[str, list[Run]]:
    """Run every case once to warm up, then all of them in turn, `repetitions` times."""
    task = progress.add_task(what, total=(repetitions + 1) * len(cases))
    runs: dict[str, list[Run]] = {name: [] for name in cases}
    for repetition in range(repetitions + 1):
        for name, case in cases.items():
            progress.update(task, description=f"{what}: {name}")
            run = case()
            if repetition:
                runs[name].append(run)
            progress.advance(task)
    return runs


def ratio(runs: list[Run], base: list[Run], value: Callable[[Run], float]) -> Summary:
    """`value` of `runs` over `base`, repetition by repetition: neighbours in time met the same noise."""
    return Summary.of(value(a) / value(b) for a, b in zip(runs, base, strict=True))
