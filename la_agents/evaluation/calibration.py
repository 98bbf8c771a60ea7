"""Calibration: which strength, and which divergence budget, suits a model.

The rule. Let `a` be the mean adherence of a point of the sweep and `p` the perplexity of its answers under the
unaligned model. With the rate `r`, adherence that a doubling of perplexity must gain,

    worth = a - r log2 p

and the knee is the point of greatest worth, the gentlest of equals. On a curve whose steps pay less and less that is
the last point whose step still gains more than `r` of adherence for each doubling of perplexity. Prompting is the first
point, so a sweep that gains nothing recommends strength 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from la_agents.errors import ConfigurationError
from la_agents.evaluation.methods import Setting
from la_agents.evaluation.runs import Row
from la_agents.evaluation.steerability import settings_of
from la_agents.evaluation.summary import SettingSummary, summarise

__all__ = [
    "BUDGETS",
    "PRINCIPLES",
    "RATE",
    "STRENGTHS",
    "Recommendation",
    "check_rate",
    "knee",
    "recommend",
    "sweep",
    "worth",
]

RATE = 0.1
"""Adherence, of 1, that a doubling of perplexity must gain."""

STRENGTHS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0)
BUDGETS = (0.1, 0.25, 0.5, 1.0, 2.0)
PRINCIPLES = ("french", "pirate", "bullets", "formal", "dogs", "lower-case")
"""Of different kinds, and none that needs long answers."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to set, and what it does on the questions and principles of the sweep.

    Attributes:
        strength: Without a budget.
        max_divergence: The budget that does best with the sweep's greatest strength as its cap; None if no budget was
            tried, or none does better than prompting.
        cap: That greatest strength.
        best: Whichever of both has the greater worth; the strength alone if they are equal.
    """

    strength: float
    max_divergence: float | None
    cap: float
    best: SettingSummary


def sweep(strengths: Sequence[float], budgets: Sequence[float]) -> list[Setting]:
    """The settings to measure: prompting, strength 0, stands first, because everything is compared with it.

    Raises:
        ConfigurationError: a value is out of range, or there is nothing beyond strength 0.
    """
    if not any(strength > 0 for strength in strengths):
        msg = f"Expected at least one strength above 0 to sweep, got {list(strengths)}."
        raise ConfigurationError(msg)
    methods = ["tapered", "tapered+budget"] if budgets else ["tapered"]
    return settings_of(["prompt", *methods], sorted({0.0, *strengths}), sorted(set(budgets)))


def worth(summary: SettingSummary, rate: float = RATE) -> float:
    """`a - r log2 p`, in adherence; a point without any answer has no perplexity to lose and gains nothing."""
    perplexity = 1.0 if summary.perplexity is None else summary.perplexity
    return summary.adherence.mean - rate * math.log2(perplexity)


def check_rate(rate: float) -> None:
    """Raise `ConfigurationError` for a rate that is no price: not finite, or not above 0."""
    if not 0 < rate < math.inf:
        msg = f"Expected a rate above 0, got {rate!r}."
        raise ConfigurationError(msg)


def knee(points: Sequence[SettingSummary], rate: float = RATE) -> SettingSummary:
    """The point of greatest worth, the first of equals; points in ascending order of strength or budget.

    Raises:
        ConfigurationError: there are no points, or the rate is not positive.
    """
    check_rate(rate)
    if not points:
        msg = "Expected one or more points of a sweep, got none."
        raise ConfigurationError(msg)
    return max(points, key=lambda point: worth(point, rate))  # max takes the first of equals


def recommend(rows: Sequence[Row], rate: float = RATE) -> Recommendation:
    """Read a sweep's rows (a steerability run of `sweep`'s settings)."""
    summaries = summarise(rows)
    prompted = [point for point in summaries if point.method == "prompt"]
    by_strength = [*prompted, *(point for point in summaries if point.method == "tapered")]
    by_budget = [point for point in summaries if point.method == "tapered+budget"]
    strong = knee(by_strength, rate)
    bounded = knee([*prompted, *by_budget], rate) if by_budget else strong
    best = bounded if worth(bounded, rate) > worth(strong, rate) else strong
    cap = max(point.strength or 0.0 for point in by_strength)
    return Recommendation(strong.strength or 0.0, bounded.max_divergence, cap, best)
