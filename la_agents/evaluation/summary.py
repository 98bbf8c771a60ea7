"""Summaries: from rows to means with intervals. Pure functions; every figure is of the rows that it is given.

The question is the unit that is drawn: answers to one question under many principles are averaged first, then the
questions are resampled. Gains are paired, so what makes a question hard for all settings does not widen them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from la_agents.evaluation.intervals import Interval, mean_interval
from la_agents.evaluation.runs import Row

__all__ = ["COSTS", "PROMPTS", "SettingSummary", "best_prompting", "gain", "grouped", "summarise", "summarise_setting"]

PROMPTS = ("prompt", "prompt-system", "prompt-user")
"""The ways of prompting that alignment is compared with, by the best of them."""
COSTS: Mapping[str, str] = {
    "KL": "divergence",
    "ppl_0": "nll",
    "ppl_1": "nll_prompted",
    "distinct-2": "distinct_2",
    "repetition": "repetition",
    "relevance": "relevance",
}
"""By the name in tables: the field of rows. A perplexity is exp of the mean negative log-likelihood a token."""


@dataclass(frozen=True, slots=True)
class SettingSummary:
    """What one setting does, over the rows it was summarised from.

    Attributes:
        varied: The strength or the budget; None where the method has neither.
        num_answers: How many rows there are.
        adherence: In [0, 1].
        gain: Its adherence less that of the best way of prompting to the same questions; None where none was run.
        costs: Means by the names of `COSTS`; None where no row has the figure.
    """

    setting: str
    method: str
    varied: float | None
    num_answers: int
    adherence: Interval
    gain: Interval | None
    costs: Mapping[str, float | None]


def grouped(rows: Iterable[Row], name: str) -> dict[Any, list[Row]]:
    """Rows by the value of a field, in the order they come."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[name], []).append(row)
    return groups


def best_prompting(rows: Sequence[Row]) -> str | None:
    """The way of prompting with the greatest mean adherence over these rows; None if there is none among them."""
    ways = {name: own for name, own in grouped(rows, "setting").items() if name in PROMPTS}
    return max(ways, key=lambda name: fmean(row["adherence"] for row in ways[name]), default=None)


def summarise(rows: Sequence[Row], *, seed: int = 0) -> list[SettingSummary]:
    """One summary a setting, in the order the settings come."""
    by_setting = grouped(rows, "setting")
    prompted = by_setting.get(best_prompting(rows))
    return [summarise_setting(own, prompted, seed=seed) for own in by_setting.values()]


def summarise_setting(rows: Sequence[Row], prompted: Sequence[Row] | None, *, seed: int = 0) -> SettingSummary:
    """The summary of one setting's rows, beside a way of prompting's to the same questions and principles."""
    first = rows[0]
    costs = {}
    for name, field in COSTS.items():
        values = [row[field] for row in rows if row.get(field) is not None]
        mean = fmean(values) if values else None
        costs[name] = math.exp(mean) if mean is not None and name.startswith("ppl") else mean
    return SettingSummary(
        setting=first["setting"],
        method=first["method"],
        varied=first["strength"] if first["max_divergence"] is None else first["max_divergence"],
        num_answers=len(rows),
        adherence=mean_interval(_per_question(rows, lambda row: row["adherence"]), seed=seed),
        gain=gain(rows, prompted, seed=seed) if prompted else None,
        costs=costs,
    )


def gain(rows: Sequence[Row], against: Sequence[Row], *, seed: int = 0) -> Interval:
    """By how much adherence is greater than the others' to the same questions and principles."""
    others = {(row["principle"], row["question"]): row["adherence"] for row in against}
    paired = [row for row in rows if (row["principle"], row["question"]) in others]
    return mean_interval(
        _per_question(paired, lambda row: row["adherence"] - others[row["principle"], row["question"]]), seed=seed
    )


def _per_question(rows: Iterable[Row], value: Callable[[Row], float]) -> list[float]:
    return [fmean(map(value, own)) for own in grouped(rows, "question").values()]
