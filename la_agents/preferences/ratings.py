"""Ratings: how a user's word on an answer moves the weights of the preferences that were used in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from la_agents.errors import ConfigurationError

__all__ = ["WeightRule", "check_score"]


def check_score(score: float) -> None:
    """Raise ConfigurationError unless it is a number within [-1, 1]."""
    is_number = isinstance(score, (int, float)) and not isinstance(score, bool)
    if not (is_number and math.isfinite(score) and abs(score) <= 1):
        msg = f"Expected a score within [-1, 1], got {score!r}."
        raise ConfigurationError(msg)


@dataclass(frozen=True, slots=True)
class WeightRule:
    """How far a rating moves a weight.

    A score s in [-1, 1] multiplies a weight by 2 ** (step * s), so that praise and blame of one size cancel. No weight
    is moved beyond the bounds; one that its user has set beyond them, or switched off, stays.

    Attributes:
        step: In halvings or doublings for a full score; > 0.
        least: Lower bound; > 0, so that no rating switches a preference off.
        most: Upper bound.
    """

    step: float = 0.25
    least: float = 0.25
    most: float = 4.0

    def __post_init__(self) -> None:
        if not (0.0 < self.step <= 10.0 and 0.0 < self.least <= self.most < float("inf")):
            msg = f"Expected 0 < step <= 10 and 0 < least <= most, got {self}."
            raise ConfigurationError(msg)

    def apply(self, weight: float, score: float) -> float:
        """The weight after the rating."""
        moved = weight * float(2.0 ** (self.step * score))
        if weight == 0.0 or score == 0.0:
            return weight
        return max(weight, min(moved, self.most)) if score > 0 else min(weight, max(moved, self.least))
