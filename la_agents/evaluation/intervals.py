"""Bootstrap intervals of means, so that every figure says how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from la_agents.errors import ConfigurationError

__all__ = ["Interval", "mean_interval", "signed"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the interval it was found in."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def signed(difference: Interval | None) -> str:
    """A difference with its sign; a dash for none."""
    if difference is None:
        return "-"
    return f"{difference.mean:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"


def mean_interval(
    values: Sequence[float], *, seed: int = 0, level: float = 0.95, num_resamples: int = 2000
) -> Interval:
    """The mean of independent values, and the percentile bootstrap's interval of it; the same seed gives the same.

    A single value, or values that are all alike, give an interval without width, which says nothing about how sure one
    may be.

    Raises:
        ConfigurationError: there are no values, or one is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        msg = f"Expected one or more finite values to average, got {array.size} values, some of them not finite."
        raise ConfigurationError(msg if array.size else "Expected one or more values to average, got none.")
    mean = float(array.mean())
    if array.size == 1:
        return Interval(mean, mean, mean)
    from scipy.stats import bootstrap

    found = bootstrap(
        (array,),
        np.mean,
        confidence_level=level,
        method="percentile",
        n_resamples=num_resamples,
        batch=max(1, 2_000_000 // array.size),  # bounds the memory of the resampling
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))
