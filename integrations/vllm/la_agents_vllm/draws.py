"""Draws: each answer's random numbers, by its seed and the token's place alone.

Counted, not kept: whatever a request went through (preemption, other rows beside it), the n-th token's numbers are the
same. SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), for a whole batch at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["key_of", "uniforms"]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def key_of(seed: int) -> int:
    """Where an answer's stream begins."""
    return int(_mixed(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64))[0])


def uniforms(keys: NDArray[np.uint64], places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Two numbers from [0, 1) for each answer's token at `places`, shape [2, answers]."""
    counters = np.stack([2 * places + 1, 2 * places + 2]).astype(np.uint64)
    return (_mixed(np.add(keys, counters * _GAMMA)) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
