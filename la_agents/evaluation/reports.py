"""Reports: what the rows of a suite of open questions show, as Markdown tables and panels to plot."""

from __future__ import annotations

from collections.abc import Sequence

from la_agents.evaluation.intervals import signed
from la_agents.evaluation.plots import Panel, Point
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.runs import Row
from la_agents.evaluation.summary import (
    COSTS,
    SettingSummary,
    best_prompting,
    grouped,
    summarise,
    summarise_setting,
)
from la_agents.evaluation.tables import Cell, markdown_table

__all__ = ["ADHERENCE", "LEGEND", "cells", "costs_table", "curves", "point", "principles_table", "steerability_report"]

LEGEND = """\
adherence: how well answers follow, from 0 to 1, mean over questions [bootstrap 95% interval]. gain: adherence minus
that of the best way of prompting on the same questions. KL: divergence from the unaligned model, nats per token. ppl_0
and ppl_1: perplexity of the answers under the unaligned model, and under the prompt with the principle, which is the
fluency that a reader sees. relevance: cosine similarity of question and answer (English only: lower in others).
"""
ADHERENCE = (-0.05, 1.1)


def steerability_report(header: Row, rows: Sequence[Row]) -> tuple[list[str], list[Panel]]:
    """Adherence and costs of every setting, over all principles and for each; adherence against divergence."""
    line, by_principle = provenance_line(header), grouped(rows, "principle")
    tables = [LEGEND, costs_table(rows, line), "## By principle\n", principles_table(rows, line)]
    panels = [curves("all principles", rows)] if len(by_principle) > 1 else []
    return tables, panels + [curves(name, own) for name, own in by_principle.items()]


def costs_table(rows: Sequence[Row], line: str) -> str:
    """A row a setting, over all principles: adherence, gain over prompting, and all costs."""
    columns = ["setting", "answers", "adherence", "gain", *COSTS]
    return markdown_table(columns, [[*cells(s), *s.costs.values()] for s in summarise(rows)], line)


def principles_table(rows: Sequence[Row], line: str) -> str:
    """A row a principle and setting: adherence, and the gain over the best way of prompting of all principles."""
    best, found = best_prompting(rows), []
    for name, own in grouped(rows, "principle").items():
        by_setting = grouped(own, "setting")
        found += [[name, *cells(summarise_setting(part, by_setting.get(best)))] for part in by_setting.values()]
    return markdown_table(["principle", "setting", "answers", "adherence", "gain"], found, line)


def cells(summary: SettingSummary) -> list[Cell]:
    """What tables say first of a setting: its name, answers, adherence and gain."""
    return [summary.setting, summary.num_answers, str(summary.adherence), signed(summary.gain)]


def curves(title: str, rows: Sequence[Row], cost: str = "KL", x_label: str = "divergence, nats a token") -> Panel:
    """Adherence against a cost, one curve a method."""
    methods: dict[str, list[Point]] = {}
    for summary in summarise(rows):
        methods.setdefault(summary.method, []).append(point(summary, cost))
    return Panel(title, x_label, "adherence", methods, ADHERENCE)


def point(summary: SettingSummary, cost: str = "KL") -> Point:
    """A setting's point, labelled with what was varied."""
    x, y = summary.costs[cost] or 0.0, summary.adherence
    return Point(x, y.mean, y.low, y.high, "" if summary.varied is None else f"{summary.varied:g}")
