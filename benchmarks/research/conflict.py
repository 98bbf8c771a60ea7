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

from la_agents.evaluation.adherence import MEASURED
from la_agents.evaluation.cases import Case
from la_agents.evaluation.intervals import Interval, mean_interval, signed
from la_agents.evaluation.measuring import Unaligned, can_measure, follow, follow_case
from la_agents.evaluation.plots import Panel, Point
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.runs import Row
from la_agents.evaluation.suites import Options, Plan, Suite
from la_agents.evaluation.summary import grouped
from la_agents.evaluation.tables import Cell, markdown_table

__all__ = ["CONFLICT", "Balance", "balances"]

PAIRS = (("french", "german"), ("verbose", "concise"))
WEIGHTS = ((1.5, 0.5), (1.0, 1.0), (0.5, 1.5))
"""3:1, 1:1 and 1:3 with a mean of 1, so that `joint`, which takes the mean, is the same for all."""


def _plan(options: Options) -> Plan:
    """Every pair of principles under every pair of weights and every setting."""
    questions, settings = options.questions(), options.settings(("linear", "linear-sum"), (1.0,))

    def cases(unaligned: Unaligned) -> Iterator[Case]:
        for names in PAIRS:
            pair = [MEASURED[name] for name in names]
            for question in questions:
                for weights in WEIGHTS if all(can_measure(one, question, unaligned) for one in pair) else ():
                    ratio = ":".join(f"{weight / min(weights):g}" for weight in weights)
                    judged, fields = tuple(zip(pair, weights, strict=True)), {"pair": "+".join(names), "weights": ratio}
                    what = f"{fields['pair']} {ratio}"
                    for setting in settings:
                        yield follow_case(what, judged, setting, question, unaligned, fields, seed=options.seed)

    judges = {name: MEASURED[name] for pair in PAIRS for name in pair}
    facts = {
        "num_questions": len(questions),
        "principles": {name: [one.text, one.max_tokens] for name, one in judges.items()},
        "pairs": ["+".join(pair) for pair in PAIRS],
        "weights": [list(pair) for pair in WEIGHTS],
        "settings": [setting.key for setting in settings],
    }
    return Plan(facts, follow(questions, max(one.max_tokens for one in judges.values()), cases))


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


def _report(header: Row, rows: Sequence[Row]) -> tuple[list[str], list[Panel]]:
    """Where each setting lets a pair of principles end up, by their weights, and how far it moved with them."""
    found, panels = balances(rows), []
    weights = list(found[0].by_weights)
    for pair in grouped(rows, "pair"):
        curves = {
            one.setting: [Point(i, y) for i, y in enumerate(one.by_weights.values())]
            for one in found
            if one.pair == pair
        }
        panels.append(Panel(pair, "weights, first:second", "balance to the first", curves, (-1.1, 1.1), ticks=weights))
    cells: list[list[Cell]] = [
        [one.pair, one.setting, one.num_questions, *(f"{one.by_weights[w]:+.2f}" for w in weights), signed(one.shift)]
        for one in found
    ]
    columns = ["pair", "setting", "questions", *(f"balance {ratio}" for ratio in weights), "shift"]
    return [_LEGEND, markdown_table(columns, cells, provenance_line(header))], panels


_LEGEND = """\
balance: adherence to the first principle less that to the second, from -1 to 1, by the weights first:second. shift: the
balance under the first weights less that under the last; above 0, it follows them.
"""

CONFLICT = Suite("conflict", _plan, _report, ("data", "methods", "strengths", "budgets"), source=Path(__file__))
