"""Reports: what the rows of a suite show, as a page of Markdown tables and a picture, both with their provenance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from la_agents.evaluation.calibration import RATE, Recommendation, recommend, worth
from la_agents.evaluation.conflict import leans
from la_agents.evaluation.intervals import Interval
from la_agents.evaluation.plots import Panel, Point, save_panels
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.runs import Row
from la_agents.evaluation.summary import SettingSummary, grouped, summarise
from la_agents.evaluation.tables import Cell, markdown_table

__all__ = [
    "LEGEND",
    "calibration_report",
    "conflict_report",
    "conflict_table",
    "costs_table",
    "gained",
    "principles_table",
    "recommendation_text",
    "steerability_report",
    "wordings_report",
    "wordings_table",
]

LEGEND = """\
adherence: how far answers follow, from 0 to 1, mean over questions [bootstrap 95% interval]. gain: the same less what
prompting has on the same questions. KL: divergence from the unaligned model, nats a token. perplexity: of the answers,
under the unaligned model. relevance: cosine of question and answer (English only: other languages lower it).
"""
_ADHERENCE = (-0.05, 1.1)
_COSTS = ("KL", "perplexity", "distinct-2", "repetition", "relevance")


def steerability_report(folder: Path, header: Row, rows: Sequence[Row]) -> list[Path]:
    """Adherence and costs of every setting, over all principles and for each; adherence against divergence."""
    line = provenance_line(header)
    tables = [LEGEND, costs_table(rows, line), "## By principle\n", principles_table(rows, line)]
    panels = [_curves("all principles", rows)] if len(grouped(rows, "principle")) > 1 else []
    panels += [_curves(name, own) for name, own in grouped(rows, "principle").items()]
    return _write(folder, "steerability", "Steerability", tables, panels, line)


def conflict_report(folder: Path, header: Row, rows: Sequence[Row]) -> list[Path]:
    """Where each setting lets a pair of principles end up, by their weights."""
    line = provenance_line(header)
    panels = []
    for pair in grouped(rows, "pair"):
        own = [lean for lean in leans(rows) if lean.pair == pair]
        curves = {lean.setting: [Point(i, y) for i, y in enumerate(lean.by_weights.values())] for lean in own}
        ticks = list(own[0].by_weights)
        panels.append(Panel(pair, "weights, first:second", "lean to the first", curves, (-1.1, 1.1), ticks=ticks))
    return _write(folder, "conflict", "Principles at odds", [conflict_table(rows, line)], panels, line)


def wordings_report(folder: Path, header: Row, rows: Sequence[Row]) -> list[Path]:
    """How well principles are followed in each wording."""
    line = provenance_line(header)
    panels = [
        Panel(
            setting,
            "divergence, nats a token",
            "adherence",
            {name: [_point(summary)] for name, own in grouped(part, "wording").items() for summary in summarise(own)},
            _ADHERENCE,
        )
        for setting, part in grouped(rows, "setting").items()
    ]
    return _write(folder, "wordings", "Wordings", [LEGEND, wordings_table(rows, line)], panels, line)


def calibration_report(folder: Path, header: Row, rows: Sequence[Row], rate: float = RATE) -> list[Path]:
    """The sweep, the worth of its points, and what it recommends."""
    line = provenance_line(header)
    found = recommend(rows, rate)
    summaries = summarise(rows)
    columns = ["setting", "adherence", "gain", *_COSTS, "worth"]
    table = markdown_table(columns, [[*_costs(s)[:1], *_costs(s)[2:], worth(s, rate)] for s in summaries], line)
    curves: dict[str, list[Point]] = {}
    for summary in summaries:
        curves.setdefault(summary.method, []).append(_point(summary, summary.perplexity or 1.0))
    best = _point(found.best, found.best.perplexity or 1.0)
    x_label, y_label = "perplexity under the unaligned model", "adherence"
    panels = [Panel("calibration (ringed: recommended)", x_label, y_label, curves, _ADHERENCE, marked=best)]
    return _write(folder, "calibration", "Calibration", [recommendation_text(found, rate), LEGEND, table], panels, line)


def recommendation_text(found: Recommendation, rate: float) -> str:
    """What a calibration recommends, in two sentences."""
    bounded = "no budget does better than prompting"
    if found.max_divergence is not None:
        bounded = f"with a budget: max_divergence={found.max_divergence:g}, strength={found.cap:g}"
    return (
        f"Recommended: strength={found.strength:g}; {bounded}. Better of the two: {found.best.setting}. (A doubling of "
        f"perplexity has to gain {rate:g} of adherence.)\n"
    )


def costs_table(rows: Sequence[Row], line: str) -> str:
    """A row a setting, over all principles: adherence, gain over prompting, and all costs."""
    columns = ["setting", "answers", "adherence", "gain", *_COSTS]
    return markdown_table(columns, [_costs(summary) for summary in summarise(rows)], line)


def principles_table(rows: Sequence[Row], line: str) -> str:
    """Mean adherence: a row a setting, a column a principle."""
    by_principle = grouped(rows, "principle")
    cells: list[list[Cell]] = []
    for setting, own in grouped(rows, "setting").items():
        means = {name: fmean(row["adherence"] for row in part) for name, part in grouped(own, "principle").items()}
        cells.append([setting, *(f"{means[name]:.2f}" if name in means else "-" for name in by_principle)])
    return markdown_table(["setting", *by_principle], cells, line)


def conflict_table(rows: Sequence[Row], line: str) -> str:
    """A row a pair and setting: the lean under each weights, and how far it moved with them."""
    found = leans(rows)
    weights = list(found[0].by_weights) if found else []
    cells: list[list[Cell]] = [
        [
            lean.pair,
            lean.setting,
            lean.num_questions,
            *(f"{lean.by_weights[w]:+.2f}" for w in weights),
            gained(lean.shift),
        ]
        for lean in found
    ]
    legend = (
        "lean: adherence to the first principle less that to the second, from -1 to 1, by the weights first:second. "
        "shift: the lean under the first weights less that under the last; above 0, it follows them.\n\n"
    )
    columns = ["pair", "setting", "questions", *(f"lean {ratio}" for ratio in weights), "shift"]
    return legend + markdown_table(columns, cells, line)


def wordings_table(rows: Sequence[Row], line: str) -> str:
    """A row a wording and setting."""
    cells: list[list[Cell]] = [
        [name, *_costs(summary)[:3], *_costs(summary)[4:]]
        for name, own in grouped(rows, "wording").items()
        for summary in summarise(own)
    ]
    return markdown_table(["wording", "setting", "answers", "adherence", *_COSTS], cells, line)


def gained(interval: Interval | None) -> str:
    """A difference with its sign."""
    if interval is None:
        return "-"
    return f"{interval.mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"


def _costs(summary: SettingSummary) -> list[Cell]:
    return [
        summary.setting,
        summary.num_answers,
        str(summary.adherence),
        gained(summary.gain),
        summary.divergence,
        summary.perplexity,
        summary.distinct_2,
        summary.repetition,
        summary.relevance,
    ]


def _curves(title: str, rows: Sequence[Row]) -> Panel:
    """Adherence against divergence, one curve a method."""
    methods: dict[str, list[Point]] = {}
    for summary in summarise(rows):
        methods.setdefault(summary.method, []).append(_point(summary))
    return Panel(title, "divergence, nats a token", "adherence", methods, _ADHERENCE)


def _point(summary: SettingSummary, x: float | None = None) -> Point:
    """A setting's point, labelled with what was varied."""
    value = summary.strength if summary.max_divergence is None else summary.max_divergence
    label = "" if value is None else f"{value:g}"
    y = summary.adherence
    return Point(summary.divergence if x is None else x, y.mean, y.low, y.high, label)


def _write(folder: Path, name: str, title: str, parts: Sequence[str], panels: Sequence[Panel], line: str) -> list[Path]:
    page, picture = folder / f"{name}.md", folder / f"{name}.png"
    save_panels(picture, panels, line, columns=4)
    page.write_text("\n".join([f"# {title}\n", *parts, f"![{title}]({picture.name})", ""]), encoding="utf-8")
    return [page, picture]
