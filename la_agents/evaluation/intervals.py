"""Bootstrap intervals of means, so that every figure says how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from la_agents.errors import ConfigurationError

__all__ = ["Interval", "mean_interval"]

_DRAWS_AT_ONCE = 2_000_000
"""Bounds the memory of the resampling, whatever the number of values."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the interval it was found in."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def mean_interval(
    values: Sequence[float], *, seed: int = 0, level: float = 0.95, num_resamples: int = 2000
) -> Interval:
    """The mean, and the percentile bootstrap's interval of it: means of as many values, drawn with replacement.

    The same seed gives the same interval. Values are taken to be independent of each other; a single one, or values
    that are all alike, give an interval without width, which says nothing about how sure one may be.

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
        batch=max(1, _DRAWS_AT_ONCE // array.size),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))
