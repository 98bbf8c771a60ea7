"""The results page: written from the rows of the suites, so that every figure on it can be looked up.

No figure and no sentence about a figure is typed by hand: what helps and what does not is decided by rules, which the
page states. A suite without rows has no section.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.research.conflict import conflict_table
from benchmarks.research.wordings import wordings_table
from la_agents.evaluation.calibration import RATE, calibrate
from la_agents.evaluation.choice_tables import choice_tables
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.reports import (
    LEGEND,
    calibration_text,
    costs_table,
    findings_table,
    gained,
    principles_table,
)
from la_agents.evaluation.runs import Row, read_run
from la_agents.evaluation.summary import PROMPT, SettingSummary, gain, grouped, summarise, summarise_setting
from la_agents.evaluation.tables import Cell, markdown_table

__all__ = ["at_equal_divergence", "results_page", "verdicts"]

_FOLDER = "results"
MIN_QUESTIONS = 5
"""Fewer cannot tell: that all of four gains are positive happens by chance one time in sixteen."""

_COMPARED = ("linear", "linear+budget", "linear-sum", "amulet", "cfg", "context-steering", "best-of-n")


def results_page(folder: Path, introduction: str) -> str:
    """The page in Markdown, for a file beside the folder `results` that holds the rows and the pictures.

    Raises:
        ConfigurationError: a results file is damaged.
    """
    parts = ["# Results\n", introduction]
    for name, section in _SECTIONS.items():
        path = folder / f"{name}.jsonl"
        if path.exists():
            header, rows = read_run(path)
            own = [row for row in rows if "setting" in row]
            parts += section(own, provenance_line(header))
            parts.append(_where(name, own))
    return "\n".join(parts)


def _where(name: str, rows: Sequence[Row]) -> str:
    example = rows[0]["key"] if rows else "-"
    return (
        f"Rows: [`{_FOLDER}/{name}.jsonl`]({_FOLDER}/{name}.jsonl), by `key`, such as `{example}`: what is measured, "
        "the setting, the question. A figure in a table is the mean over the rows whose keys name its setting, and its "
        "column where columns are parts; over all parts, the rows of each question are averaged first.\n"
    )


def _steerability(rows: Sequence[Row], line: str) -> Iterator[str]:
    yield "## Steerability\n"
    yield (
        f"{len(grouped(rows, 'question'))} open questions, {len(grouped(rows, 'principle'))} principles whose "
        "following is measured without a judge, greedy answers.\n"
    )
    yield LEGEND
    yield costs_table(rows, line)
    yield f"![Adherence against divergence]({_FOLDER}/steerability.png)\n"
    yield "Above at the same divergence is better. Labels are strengths, or budgets for `linear+budget`.\n"
    yield "### By principle\n"
    yield principles_table(rows, line)
    yield from _equal_divergence(rows, line)
    yield from _examples(rows)
    yield from _no_help(rows, line)


def _equal_divergence(rows: Sequence[Row], line: str) -> Iterator[str]:
    found = at_equal_divergence(summarise(rows))
    if found:
        yield "### Against Linear Alignment at equal divergence\n"
        yield (
            "By how much adherence lies above (+) or below (-) the curve of `linear`, interpolated between prompting "
            "and its strengths, at the setting's own divergence. Settings beyond the curve's end are left out.\n"
        )
        yield markdown_table(["setting", "KL", "adherence", "difference"], found, line)


def at_equal_divergence(summaries: Sequence[SettingSummary]) -> list[list[Cell]]:
    """Setting, divergence, adherence, and adherence less that of `linear` interpolated at that divergence."""
    curve = sorted((s.divergence, s.adherence.mean) for s in summaries if s.method in (PROMPT, "linear"))
    cells: list[list[Cell]] = []
    for summary in summaries:
        there = _interpolate(curve, summary.divergence)
        if summary.method in _COMPARED and summary.method != "linear" and there is not None:
            mean = summary.adherence.mean
            cells.append([summary.setting, summary.divergence, mean, f"{mean - there:+.2f}"])
    return cells


def _interpolate(curve: Sequence[tuple[float, float]], x: float) -> float | None:
    for (left, low), (right, high) in pairwise(curve):
        if left <= x <= right:
            return low if right == left else low + (high - low) * (x - left) / (right - left)
    return None


def _examples(rows: Sequence[Row], number: int = 3) -> Iterator[str]:
    """The principles that strength 1 helps most: the first question's answers, prompted and aligned."""
    by_principle = {name: grouped(own, "setting") for name, own in grouped(rows, "principle").items()}
    aligned = "linear strength=1"
    gains = {
        n: gain(own[aligned], own[PROMPT]).mean for n, own in by_principle.items() if {aligned, PROMPT} <= own.keys()
    }
    if not gains:
        return
    yield "### What it looks like\n"
    yield f"The first question of the {number} principles that gain most from `{aligned}`, whatever it shows.\n"
    for name in sorted(gains, key=lambda name: -gains[name])[:number]:
        for setting in (PROMPT, aligned):
            row = by_principle[name][setting][0]
            text = " ".join(row["answer"].split())
            yield f"`{row['key']}`, adherence {row['adherence']:.2f}:\n\n> {_escaped(text)}\n"


def _no_help(rows: Sequence[Row], line: str) -> Iterator[str]:
    yield "### Where it does not help\n"
    yield (
        "A setting *helps* with a principle if the 95% interval of its gain over prompting, paired by question, lies "
        "above 0, *hurts* if it lies below, and otherwise does *not help*, as far as so few questions can tell; fewer "
        f"than {MIN_QUESTIONS} tell nothing.\n"
    )
    yield markdown_table(["setting", "helps", "does not help", "hurts"], verdicts(rows), line)
    yield from _never(rows)
    yield from _dear(rows)


def verdicts(rows: Sequence[Row]) -> list[list[Cell]]:
    """For each setting: the principles with which it helps, does not help, and hurts."""
    prompted = grouped([row for row in rows if row["setting"] == PROMPT], "principle")
    cells: list[list[Cell]] = []
    for setting, own in grouped(rows, "setting").items():
        if own[0]["method"] not in _COMPARED:
            continue
        names: dict[str, list[str]] = {"helps": [], "not": [], "hurts": []}
        for name, part in grouped(own, "principle").items():
            if name in prompted:
                names[_verdict(part, prompted[name])].append(name)
        cells.append([setting, *(", ".join(names[kind]) or "-" for kind in ("helps", "not", "hurts"))])
    return cells


def _verdict(rows: Sequence[Row], prompted: Sequence[Row]) -> str:
    found = gain(rows, prompted)
    if len(grouped(rows, "question")) < MIN_QUESTIONS:
        return "not"
    return "helps" if found.low > 0 else "hurts" if found.high < 0 else "not"


def _never(rows: Sequence[Row]) -> Iterator[str]:
    table = verdicts(rows)
    helped = {name for row in table for name in str(row[1]).split(", ")}
    never = [name for name in grouped(rows, "principle") if name not in helped]
    if never:
        yield f"No setting is shown to help with: {', '.join(never)}.\n"
    base = grouped([row for row in rows if row["method"] == "base"], "principle")
    prompted = grouped([row for row in rows if row["setting"] == PROMPT], "principle")
    enough = [
        name
        for name, own in prompted.items()
        if name in base and gain(own, base[name]).low > 0 and summarise_setting(own, None).adherence.mean >= 0.9
    ]
    if enough:
        names = ", ".join(enough)
        yield f"Prompting alone suffices (adherence of 0.9 or more, above the unaligned model's): {names}.\n"


def _dear(rows: Sequence[Row]) -> Iterator[str]:
    summaries = summarise(rows)
    prompt = next((s for s in summaries if s.setting == PROMPT), None)
    if prompt is None or not prompt.perplexity:
        return
    dear = [s for s in summaries if s.method in _COMPARED and (s.perplexity or 0) > 2 * prompt.perplexity]
    if dear:
        listed = ", ".join(f"`{s.setting}` ({s.perplexity:.1f})" for s in dear)
        yield f"Perplexity more than twice prompting's ({prompt.perplexity:.1f}): {listed}.\n"
    repeats = [s for s in summaries if s.method in _COMPARED and (s.repetition or 0) > (prompt.repetition or 0) + 0.1]
    if repeats:
        listed = ", ".join(f"`{s.setting}` ({s.repetition:.2f})" for s in repeats)
        yield f"Repetition more than 0.1 above prompting's ({prompt.repetition or 0:.2f}): {listed}.\n"
    strays = [s for s in summaries if s.method in _COMPARED and (s.relevance or 0) < (prompt.relevance or 0) - 0.1]
    if strays:
        listed = ", ".join(f"`{s.setting}` ({s.relevance:.2f})" for s in strays)
        yield f"Relevance more than 0.1 below prompting's ({prompt.relevance or 0:.2f}): {listed}.\n"


def _conflict(rows: Sequence[Row], line: str) -> Iterator[str]:
    yield "## Principles at odds\n"
    yield conflict_table(rows, line)
    yield f"![Lean by weights]({_FOLDER}/conflict.png)\n"


def _wordings(rows: Sequence[Row], line: str) -> Iterator[str]:
    yield "## Wordings\n"
    yield "The same principles, put to the model in different words. The library's default is `bare`.\n"
    yield wordings_table(rows, line)
    yield "Against `bare`, paired by question:\n"
    by_wording = grouped(rows, "wording")
    cells: list[list[Cell]] = [
        [name, setting, gained(gain(part, grouped(by_wording["bare"], "setting")[setting]))]
        for name, own in by_wording.items()
        if name != "bare" and "bare" in by_wording
        for setting, part in grouped(own, "setting").items()
    ]
    yield markdown_table(["wording", "setting", "gain"], cells, line)
    yield f"![Wordings]({_FOLDER}/wordings.png)\n"


def _calibration(rows: Sequence[Row], line: str) -> Iterator[str]:
    yield "## Calibration\n"
    yield "What `la-agents calibrate` says about the bundled model.\n"
    found = calibrate(rows, "the bundled model")
    yield calibration_text(found, RATE)
    yield findings_table(found, line)
    yield f"![Calibration]({_FOLDER}/calibration.png)\n"


def _choice_section(title: str, name: str) -> Callable[[Sequence[Row], str], Iterator[str]]:
    def section(rows: Sequence[Row], line: str) -> Iterator[str]:
        yield f"## {title}\n"
        yield choice_tables(rows, line)
        yield f"![Accuracy against strength]({_FOLDER}/{name}.png)\n"

    return section


def _escaped(text: str) -> str:
    """Generated text as it stands: it may form no markup."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!~" else c for c in text)


_SECTIONS: dict[str, Callable[[Sequence[Row], str], Iterator[str]]] = {
    "steerability": _steerability,
    "conflict": _conflict,
    "wordings": _wordings,
    "calibration": _calibration,
    "prefeval-mcq": _choice_section("PrefEval, multiple choice", "prefeval-mcq"),
    "personal-preference": _choice_section("Personal preferences, multiple choice", "personal-preference"),
}
