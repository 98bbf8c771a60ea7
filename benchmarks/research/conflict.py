"""Conflict: two principles at odds, with weights; does the outcome follow the weights?

`linear-sum` gives each principle a branch with its own weight. `linear` (joint) puts both into one prompt, where only
their mean weight counts: it cannot follow them, and is here to show what that means.

Rows: `<first>+<second> <w1>:<w2>/<setting>/<question>` with `adherence` to the first and `opposite`, to the second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from la_agents.evaluation.adherence import MEASURED, MeasuredPrinciple
from la_agents.evaluation.cases import EvalCase, can_measure, measure_cases
from la_agents.evaluation.intervals import Interval, mean_interval
from la_agents.evaluation.methods import Setting
from la_agents.evaluation.plots import Panel, Point
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.questions import OpenQuestion
from la_agents.evaluation.reports import gained, write_report
from la_agents.evaluation.runs import Row
from la_agents.evaluation.summary import grouped
from la_agents.evaluation.tables import Cell, markdown_table
from la_agents.evaluation.unaligned import Unaligned

if TYPE_CHECKING:
    from la_agents.evaluation.runs import Report, Run
    from la_agents.evaluation.subject import Subject

__all__ = ["METHODS", "Balance", "Plan", "balances", "conflict_table", "measure", "report"]

METHODS = ("linear", "linear-sum")
PAIRS = (("french", "german"), ("verbose", "concise"))
WEIGHTS = ((1.5, 0.5), (1.0, 1.0), (0.5, 1.5))
"""3:1, 1:1 and 1:3 with a mean of 1, so that `joint`, which takes the mean, is the same for all."""


@dataclass(frozen=True)
class Plan:
    """What is measured: every pair of principles under every pair of weights and every setting."""

    questions: Sequence[OpenQuestion]
    settings: Sequence[Setting]
    pairs: Sequence[tuple[str, str]] = PAIRS
    weights: Sequence[tuple[float, float]] = WEIGHTS
    seed: int = 0

    def as_settings(self) -> dict[str, Any]:
        """For the provenance."""
        names = [name for pair in self.pairs for name in pair]
        return {
            "num_questions": len(self.questions),
            "principles": {name: [MEASURED[name].text, MEASURED[name].max_tokens] for name in names},
            "pairs": ["+".join(pair) for pair in self.pairs],
            "weights": [list(pair) for pair in self.weights],
            "settings": [setting.key for setting in self.settings],
        }


def measure(run: Run, subject: Subject, plan: Plan, report: Report | None = None) -> list[Row]:
    """Do what is missing of a plan; its rows in order."""
    pairs = [(MEASURED[first], MEASURED[second]) for first, second in plan.pairs]
    longest = max(principle.max_tokens for pair in pairs for principle in pair)

    def cases(unaligned: Unaligned) -> Iterator[EvalCase]:
        for pair in pairs:
            for question in plan.questions:
                if all(can_measure(principle, question, unaligned) for principle in pair):
                    for weights in plan.weights:
                        yield from (_case(pair, weights, setting, question) for setting in plan.settings)

    return measure_cases(run, subject, plan.questions, longest, cases, seed=plan.seed, report=report)


def _case(
    pair: tuple[MeasuredPrinciple, MeasuredPrinciple],
    weights: tuple[float, float],
    setting: Setting,
    question: OpenQuestion,
) -> EvalCase:
    names, ratio = "+".join(principle.id for principle in pair), _ratio(weights)
    key = f"{names} {ratio}/{setting.key}/{question.index}"
    weighted = tuple(zip(pair, weights, strict=True))
    return EvalCase(key, question, weighted, setting, {"pair": names, "weights": ratio})


def _ratio(weights: tuple[float, float]) -> str:
    least = min(weights)
    return ":".join(f"{weight / least:g}" for weight in weights)


@dataclass(frozen=True, slots=True)
class Balance:
    """Where a setting lets a pair of principles end up.

    Attributes:
        by_weights: For each pair of weights the mean balance: adherence to the first less that to the second, from -1
            to 1.
        shift: The balance under the first weights less that under the last, on the same questions: above 0, the
            outcome follows the weights.
    """

    pair: str
    setting: str
    num_questions: int
    by_weights: dict[str, float]
    shift: Interval


def balances(rows: Sequence[Row], *, seed: int = 0) -> list[Balance]:
    """One for each pair and setting, in the order they come."""
    return [
        _balance(pair, setting, part, seed)
        for pair, own in grouped(rows, "pair").items()
        for setting, part in grouped(own, "setting").items()
    ]


def _balance(pair: str, setting: str, rows: Sequence[Row], seed: int) -> Balance:
    by_weights = {
        weights: {row["question"]: row["adherence"] - row["opposite"] for row in part}
        for weights, part in grouped(rows, "weights").items()
    }
    first, *_, last = by_weights.values()
    shift = mean_interval([first[question] - last[question] for question in first], seed=seed)
    means = {weights: fmean(values.values()) for weights, values in by_weights.items()}
    return Balance(pair, setting, len(first), means, shift)


def report(folder: Path, header: Row, rows: Sequence[Row]) -> list[Path]:
    """Where each setting lets a pair of principles end up, by their weights."""
    line = provenance_line(header)
    panels = []
    for pair in grouped(rows, "pair"):
        own = [balance for balance in balances(rows) if balance.pair == pair]
        curves = {balance.setting: [Point(i, y) for i, y in enumerate(balance.by_weights.values())] for balance in own}
        ticks = list(own[0].by_weights)
        panels.append(Panel(pair, "weights, first:second", "balance to the first", curves, (-1.1, 1.1), ticks=ticks))
    return write_report(folder, "conflict", "Principles at odds", [conflict_table(rows, line)], panels, line)


def conflict_table(rows: Sequence[Row], line: str) -> str:
    """A row a pair and setting: the balance under each weights, and how far it moved with them."""
    found = balances(rows)
    weights = list(found[0].by_weights) if found else []
    cells: list[list[Cell]] = [
        [
            balance.pair,
            balance.setting,
            balance.num_questions,
            *(f"{balance.by_weights[w]:+.2f}" for w in weights),
            gained(balance.shift),
        ]
        for balance in found
    ]
    legend = (
        "balance: adherence to the first principle less that to the second, from -1 to 1, by the weights first:second. "
        "shift: the balance under the first weights less that under the last; above 0, it follows them.\n\n"
    )
    columns = ["pair", "setting", "questions", *(f"balance {ratio}" for ratio in weights), "shift"]
    return legend + markdown_table(columns, cells, line)
