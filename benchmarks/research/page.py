"""The results page: for each model one plot, one table, what helps, what does not, and what it costs.

Everything is written from the rows of the suites, by rules that the page states: no figure is typed by hand. A setting
*helps* if the 95% interval of its gain over the best way of prompting lies above 0, and *hurts* if it lies below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.research.capability import by_item
from la_agents.evaluation.choosing import accuracy, mean_over_items
from la_agents.evaluation.intervals import mean_interval, signed
from la_agents.evaluation.methods import BASE
from la_agents.evaluation.plots import Panel, save_panels
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.reports import LEGEND, curves
from la_agents.evaluation.runs import Row, read_run
from la_agents.evaluation.summary import SettingSummary, best_prompting, gain, grouped, summarise
from la_agents.evaluation.tables import Cell, markdown_table

__all__ = ["DEFAULT", "results_page"]

DEFAULT = "calibrated"
"""The setting that the library takes by itself."""

MIN_QUESTIONS = 5
"""Fewer cannot tell: that all of four gains are positive happens by chance one time in sixteen."""

RUINED = 16
"""Times the least perplexity from which a setting is in the table only: it would squeeze the plot."""

TOLERANCE = 0.05
ENOUGH = 0.9


def results_page(folder: Path, introduction: str) -> str:
    """The page in Markdown, for a file beside `folder`, in which each model has a folder of rows; draws the plots.

    Raises:
        ConfigurationError: a results file is damaged.
    """
    parts = ["# Results\n", introduction]
    for model in sorted(path.parent for path in folder.glob("*/steerability.jsonl")):
        parts += _model(model, f"{folder.name}/{model.name}")
    return "\n".join(parts)


def _model(folder: Path, link: str) -> Iterator[str]:
    runs = {path.stem: read_run(path) for path in sorted(folder.glob("*.jsonl"))}
    lines = {name: provenance_line(header) for name, (header, _) in runs.items()}
    rows = {name: [row for row in found if "setting" in row] for name, (_, found) in runs.items()}
    steerability, line = rows["steerability"], lines["steerability"]
    summaries = summarise(steerability)
    save_panels(folder / "frontier.png", [_frontier(steerability)], line)
    model = runs["steerability"][0]["provenance"]["model"]
    yield f"## {model if isinstance(model, str) else model['name']}\n"
    num_questions, num_principles = (len(grouped(steerability, name)) for name in ("question", "principle"))
    yield f"{num_questions} open questions under each of {num_principles} principles that need no judge.\n"
    yield f"![Adherence against perplexity]({link}/frontier.png)\n"
    yield markdown_table(_COLUMNS, [_cells(summary) for summary in summaries], line)
    yield LEGEND
    yield "### What helps, and what does not\n"
    yield from _verdicts(steerability, summaries)
    others = [cells for name, own in rows.items() for cells in _elsewhere(name, own)]
    if others:
        yield "### Elsewhere\n"
        columns = ["measured", "best prompting", "default", "gain"]
        yield markdown_table(columns, others, " · ".join(line.split(" · ")[1:3]))
    yield "### What it costs\n"
    yield from _costs(summaries, rows.get("capability", []))
    files = ", ".join(f"[{name}]({link}/{name}.jsonl)" for name in runs)
    yield f"Rows, by suite, principle, setting and question: {files}.\n"


_COLUMNS = ("setting", "adherence", "gain", "ppl_0", "ppl_1", "repetition", "relevance", "KL")


def _cells(summary: SettingSummary) -> list[Cell]:
    costs = [summary.costs[name] for name in _COLUMNS[3:]]
    told = ["-" if cost is None else f"{cost:.2f}" for cost in costs]
    return [summary.setting, str(summary.adherence), signed(summary.gain), *told]


def _frontier(rows: Sequence[Row]) -> Panel:
    """Adherence against perplexity; without the settings whose answers are no language any more."""
    panel = curves("up: followed further; right: less fluent", rows, "ppl_0", "ppl_0")
    widest = RUINED * min(point.x for points in panel.curves.values() for point in points)
    named = {
        method: [replace(point, label=f"{method} {point.label}".strip()) for point in points if point.x <= widest]
        for method, points in panel.curves.items()
    }
    return replace(panel, curves={method: points for method, points in named.items() if points}, log_x=True)


def _verdicts(rows: Sequence[Row], summaries: Sequence[SettingSummary]) -> Iterator[str]:
    best = best_prompting(rows)
    if best is None:
        return
    by_name = {summary.setting: summary for summary in summaries}
    yield f"Best way of prompting: `{best}`, adherence {by_name[best].adherence}.\n"
    compared = [s for s in summaries if not s.method.startswith("prompt") and s.setting != BASE.key]
    for verb, some in (
        ("Help", [s for s in compared if s.gain and s.gain.low > 0]),
        ("Hurt", [s for s in compared if s.gain and s.gain.high < 0]),
    ):
        if some:
            yield f"{verb}: {', '.join(f'`{s.setting}` {signed(s.gain)}' for s in some)}.\n"
    if DEFAULT in by_name:
        yield from _by_principle(rows, best)


def _by_principle(rows: Sequence[Row], best: str) -> Iterator[str]:
    """Where the default helps, makes no clear difference, and hurts."""
    found: dict[str, list[str]] = {"helps": [], "makes no clear difference": [], "hurts": []}
    below, enough = [], []
    for name, own in grouped(rows, "principle").items():
        by_setting = grouped(own, "setting")
        if not {best, DEFAULT} <= by_setting.keys():
            continue
        interval = gain(by_setting[DEFAULT], by_setting[best])
        few = len(grouped(own, "question")) < MIN_QUESTIONS
        helps, hurts = interval.low > 0 and not few, interval.high < 0 and not few
        found["helps" if helps else "hurts" if hurts else "makes no clear difference"].append(
            f"{name} {interval.mean:+.2f}"
        )
        below += [f"{name} {interval.mean:+.2f}"] if interval.mean < -TOLERANCE else []
        prompted = mean_interval([row["adherence"] for row in by_setting[best]]).mean
        enough += [name] if prompted >= ENOUGH else []
    for what, names in found.items():
        if names:
            yield f"The default (`{DEFAULT}`) {what} with: {', '.join(names)}.\n"
    yield f"More than {TOLERANCE} below the best prompting: {', '.join(below) or 'no principle'}.\n"
    if enough:
        yield f"Prompting alone has {ENOUGH} or more with: {', '.join(enough)}.\n"


def _elsewhere(name: str, rows: Sequence[Row]) -> Iterator[list[Cell]]:
    """What the other suites say about the default, one row each."""
    if name == "ifeval":
        yield from _against("IFEval's single instructions, strict accuracy", rows)
    elif name in ("conversation", "drift"):
        for kind, own in grouped(rows, "kind").items():
            by_turns = grouped(own, "turns")
            for turns in sorted({min(by_turns), max(by_turns)}):
                yield from _against(f"{_KINDS[kind]} {turns} turns", by_turns[turns])
    elif name in _CHOICES:
        by_setting = grouped(rows, "setting")
        aligned = next((setting for setting in by_setting if setting.startswith("tapered ")), None)
        if aligned and "prompt" in by_setting:
            letter = partial(accuracy, "letter")
            told = [str(mean_over_items(by_setting[setting], letter)) for setting in ("prompt", aligned)]
            yield [f"{_CHOICES[name]} (`{aligned}`)", *told, "-"]


_KINDS: Mapping[str, str] = {
    "arrives": "the principle arrives after",
    "changes": "the principle turns into its opposite after",
    "drift": "the principle was stated before",
}
_CHOICES: Mapping[str, str] = {
    "prefeval-mcq": "PrefEval, the letter of the right answer",
    "personal-preference": "personal preferences, the letter of the right answer",
}


def _against(what: str, rows: Sequence[Row]) -> Iterator[list[Cell]]:
    best = best_prompting(rows)
    found = {summary.setting: summary for summary in summarise(rows)}
    if best is not None and DEFAULT in found:
        own = found[DEFAULT]
        yield [what, f"{found[best].adherence} ({best})", str(own.adherence), signed(own.gain)]


def _costs(summaries: Sequence[SettingSummary], capability: Sequence[Row]) -> Iterator[str]:
    by_name = {summary.setting: summary for summary in summaries}
    ways = [s for s in summaries if s.method.startswith("prompt")]
    if ways and DEFAULT in by_name:
        prompt, own = max(ways, key=lambda s: s.adherence.mean), by_name[DEFAULT]
        pairs = [(what, prompt.costs[name], own.costs[name]) for name, what in _NAMES.items()]
        told = [f"{what} {a:.2f} to {b:.2f}" for what, a, b in pairs if a is not None and b is not None]
        yield f"From the best prompting to the default: {', '.join(told)}.\n"
    for task, own_rows in grouped(capability, "task").items():
        by_setting = grouped(own_rows, "setting")
        base = {row["question"]: row["score"] for row in by_setting.get(BASE.key, [])}
        if base and DEFAULT in by_setting:
            lost = by_item(by_setting[DEFAULT], base)
            what = "bits a byte of plain prose" if task == "text" else f"accuracy on {task}"
            mean = mean_interval(list(base.values()))
            yield f"Where no principle matters, {what}: {mean} without one, {signed(mean_interval(lost))} with one.\n"


_NAMES: Mapping[str, str] = {
    "ppl_0": "perplexity under the unaligned model",
    "ppl_1": "under the prompt with the principle",
    "repetition": "repetition",
    "relevance": "relevance",
}
