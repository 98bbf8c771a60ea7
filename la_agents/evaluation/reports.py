"""Reports: what the rows of a suite show, as a page of Markdown tables and a picture, both with their provenance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from la_agents.evaluation.calibration import FEW, RATE, Findings, calibrate
from la_agents.evaluation.intervals import Interval
from la_agents.evaluation.plots import Panel, Point, save_panels
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.runs import Row
from la_agents.evaluation.summary import (
    SettingSummary,
    best_prompting,
    grouped,
    summarise,
    summarise_setting,
)
from la_agents.evaluation.tables import Cell, markdown_table

__all__ = [
    "ADHERENCE",
    "COSTS",
    "LEGEND",
    "calibration_report",
    "calibration_text",
    "cost_cells",
    "costs_table",
    "curves",
    "findings_table",
    "gained",
    "point",
    "principles_table",
    "steerability_report",
    "write_report",
]

LEGEND = """\
adherence: how far answers follow, from 0 to 1, mean over questions [bootstrap 95% interval]. gain: the same less what
the best way of prompting has on the same questions. KL: divergence from the unaligned model, nats a token. ppl_0 and
ppl_1: perplexity of the answers under the unaligned model, and under the prompt with the principle, which is the
fluency that a reader sees. relevance: cosine of question and answer (English only: other languages lower it).
"""
ADHERENCE = (-0.05, 1.1)
COSTS = ("KL", "ppl_0", "ppl_1", "distinct-2", "repetition", "relevance")


def steerability_report(folder: Path, header: Row, rows: Sequence[Row]) -> list[Path]:
    """Adherence and costs of every setting, over all principles and for each; adherence against divergence."""
    line = provenance_line(header)
    tables = [LEGEND, costs_table(rows, line), "## By principle\n", principles_table(rows, line)]
    panels = [curves("all principles", rows)] if len(grouped(rows, "principle")) > 1 else []
    panels += [curves(name, own) for name, own in grouped(rows, "principle").items()]
    return write_report(folder, "steerability", "Steerability", tables, panels, line)


def calibration_report(folder: Path, header: Row, rows: Sequence[Row], rate: float = RATE) -> list[Path]:
    """What was chosen for each principle, the candidates, and `calibration.json` for the faces to read."""
    line, found = provenance_line(header), calibrate(rows, header["provenance"]["model"]["name"], rate)
    file = folder / "calibration.json"
    found.calibration.write(file)
    x_label = "perplexity under the unaligned model"
    panels = [Panel("all principles", x_label, "adherence", _candidates(rows), ADHERENCE)]
    tables = [calibration_text(found, rate), findings_table(found, line), LEGEND, costs_table(rows, line)]
    return [*write_report(folder, "calibration", "Calibration", tables, panels, line), file]


def calibration_text(found: Findings, rate: float) -> str:
    """What a calibration found, in a few sentences."""
    parts = [f"Best on average: {found.default}. (A doubling of perplexity has to gain {rate:g} of adherence.)"]
    if found.unseen is not None and found.unseen_prompted is not None:
        parts.append(
            f"On questions that nothing was chosen on: adherence {found.unseen:.2f}, the best way of prompting "
            f"{found.unseen_prompted:.2f}."
        )
    if found.num_questions < FEW:
        parts.append(f"Only {found.num_questions} of the {FEW} questions or more that it takes to rely on this.")
    return " ".join(parts) + "\n"


def findings_table(found: Findings, line: str) -> str:
    """A row a principle: what it is followed best with, and how much better that is."""
    columns = ["principle", "followed best with", "adherence", "default", "best prompting"]
    cells: list[list[Cell]] = [
        [one.principle, one.setting, *(f"{value:.2f}" for value in (one.adherence, one.default, one.prompted))]
        for one in found.principles
    ]
    return markdown_table(columns, cells, line)


def _candidates(rows: Sequence[Row]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for summary in summarise(rows):
        found.setdefault(summary.method, []).append(point(summary, summary.perplexity or 1.0))
    return found


def costs_table(rows: Sequence[Row], line: str) -> str:
    """A row a setting, over all principles: adherence, gain over prompting, and all costs."""
    columns = ["setting", "answers", "adherence", "gain", *COSTS]
    return markdown_table(columns, [cost_cells(summary) for summary in summarise(rows)], line)


def principles_table(rows: Sequence[Row], line: str) -> str:
    """A row a principle and setting: adherence, and the gain over the best way of prompting of all principles."""
    by_principle, best = grouped(rows, "principle"), best_prompting(rows)
    cells: list[list[Cell]] = []
    for name, own in by_principle.items():
        by_setting = grouped(own, "setting")
        for part in by_setting.values():
            summary = summarise_setting(part, by_setting.get(best))
            cells.append([name, summary.setting, summary.num_answers, str(summary.adherence), gained(summary.gain)])
    return markdown_table(["principle", "setting", "answers", "adherence", "gain"], cells, line)


def gained(interval: Interval | None) -> str:
    """A difference with its sign."""
    if interval is None:
        return "-"
    return f"{interval.mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"


def cost_cells(summary: SettingSummary) -> list[Cell]:
    return [
        summary.setting,
        summary.num_answers,
        str(summary.adherence),
        gained(summary.gain),
        summary.divergence,
        summary.perplexity,
        summary.perplexity_prompted,
        summary.distinct_2,
        summary.repetition,
        summary.relevance,
    ]


def curves(title: str, rows: Sequence[Row]) -> Panel:
    """Adherence against divergence, one curve a method."""
    methods: dict[str, list[Point]] = {}
    for summary in summarise(rows):
        methods.setdefault(summary.method, []).append(point(summary))
    return Panel(title, "divergence, nats a token", "adherence", methods, ADHERENCE)


def point(summary: SettingSummary, x: float | None = None) -> Point:
    """A setting's point, labelled with what was varied."""
    value = summary.strength if summary.max_divergence is None else summary.max_divergence
    label = "" if value is None else f"{value:g}"
    y = summary.adherence
    return Point(summary.divergence if x is None else x, y.mean, y.low, y.high, label)


def write_report(
    folder: Path, name: str, title: str, parts: Sequence[str], panels: Sequence[Panel], line: str
) -> list[Path]:
    page, picture = folder / f"{name}.md", folder / f"{name}.png"
    save_panels(picture, panels, line, columns=4)
    page.write_text("\n".join([f"# {title}\n", *parts, f"![{title}]({picture.name})", ""]), encoding="utf-8")
    return [page, picture]
