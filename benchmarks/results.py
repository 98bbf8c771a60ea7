"""docs/results.md, from runs of all suites: `make results`, or `make results MODEL=x.gguf` for another model.

    python -m benchmarks.results [--model NAME] [--suites NAMES] [--quick] [--data FOLDER] [--page-only]

Rows go to docs/results/<model>/; the page shows every model that is there. An interrupted run is taken up again; rows
of other code are refused by name, so remove them to measure anew. `--quick` does a few questions, and writes to
results/quick. Data that is not part of the repository (PrefEval, IFEval) is looked for in --data.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import summary
from benchmarks.research.page import results_page
from benchmarks.research.suites import RESEARCH
from la_agents.cli.terminal import counting_bar, note
from la_agents.errors import ConfigurationError
from la_agents.evaluation.choosing import CHOICES
from la_agents.evaluation.steerability import STEERABILITY
from la_agents.evaluation.subject import Subject
from la_agents.evaluation.suites import Options, run_suite
from la_agents.models import DEFAULT_MODEL, load_model

ROOT = Path(__file__).parents[1]
PERSONAL = ROOT / "tests" / "data" / "personal_preference.jsonl"
DATA = Path(os.environ.get("LA_AGENTS_DATA", ROOT.parent / "shared" / "data"))
OUTSIDE = {"ifeval": "ifeval/single_instruction.jsonl", "prefeval-mcq": "prefeval"}
"""Where the data of suites lies in that folder."""
SUITES = {STEERABILITY.name: STEERABILITY, **CHOICES, **RESEARCH}

_METHODS = ("prompt", "prompt-system", "prompt-user", "calibrated", "tapered", "tapered+fluency", "linear", "cfg")
_CHOICE_METHODS = ("base", "prompt", "tapered", "linear", "cfg")

FULL = {
    "steerability": Options(methods=_METHODS, strengths=(2.0, 8.0), budgets=(0.3,)),
    "ifeval": Options(),
    "conversation": Options(limit=3),
    "drift": Options(limit=3),
    "capability": Options(limit=20),
    "prefeval-mcq": Options(limit=20, methods=_CHOICE_METHODS, strengths=(2.0,)),
    "personal-preference": Options(limit=6, data=PERSONAL, methods=_CHOICE_METHODS, strengths=(2.0,)),
}
"""In the order in which they are run. Conflict, wordings and calibration are measured by their own commands."""

_FEW = ("french", "pirate", "formal", "concise")
QUICK = {
    "steerability": Options(
        limit=2, principles=_FEW, methods=("prompt", "prompt-system", "calibrated", "linear", "cfg"), strengths=(2.0,)
    ),
    "ifeval": Options(limit=4, methods=("prompt", "calibrated")),
    "conversation": Options(limit=1, principles=("pirate",), methods=("prompt", "calibrated")),
    "drift": Options(limit=1, principles=("pirate",), methods=("prompt", "calibrated")),
    "capability": Options(limit=4, principles=("pirate",)),
    "prefeval-mcq": Options(limit=3, methods=("prompt", "tapered"), strengths=(2.0,)),
    "personal-preference": Options(limit=2, data=PERSONAL, methods=("prompt", "tapered"), strengths=(2.0,)),
}

INTRODUCTION = """\
Written by `{command}` from the measured rows; no figure on this page is typed by hand. Answers are greedy and short
({cap} tokens where length does not matter). Intervals are 95% bootstrap intervals over the questions; a difference
inside them may be chance. To measure your own model, more questions or other principles, see
[how to evaluate](how-to/evaluate.md).
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="alias, folder, .gguf file or hub id")
    parser.add_argument("--suites", default="", help=f"some of {', '.join(FULL)}, by commas; all by default")
    parser.add_argument("--limit", type=int, help="at most so many questions a suite, for large models")
    parser.add_argument("--quick", action="store_true", help="a few questions, into results/quick")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of PrefEval's and IFEval's data")
    parser.add_argument("--page-only", action="store_true", help="write the page from the rows that are there")
    given = parser.parse_args(arguments)
    page = ROOT / "results" / "quick" / "results.md" if given.quick else ROOT / "docs" / "results.md"
    sizes = QUICK if given.quick else FULL
    chosen = [name for name in given.suites.split(",") if name] or list(sizes)
    if unknown := set(chosen) - set(sizes):
        parser.error(f"Expected suites among {', '.join(sizes)}, got {', '.join(sorted(unknown))}.")
    if given.limit is not None:
        sizes = {name: replace(own, limit=min(own.limit or given.limit, given.limit)) for name, own in sizes.items()}
    if not given.page_only:
        measure(page.parent / "results", given.model, {name: sizes[name] for name in chosen}, given.data)
    command = "python -m benchmarks.results --quick" if given.quick else "make results"
    page.write_text(results_page(page.parent / "results", introduction(command)), encoding="utf-8")
    note(f"Wrote {page}")
    if not given.quick:
        summary.main()


def measure(folder: Path, model: str, sizes: dict[str, Options], data: Path) -> None:
    """Run the suites, or what is missing of them, into the model's own folder."""
    subject = Subject(load_model(model))
    out = folder / re.sub(r"[^\w.-]+", "-", subject.loaded.name.removesuffix(".gguf"))
    for name, options in sizes.items():
        if name in OUTSIDE:
            if not (data / OUTSIDE[name]).exists():
                note(f"Left out {name}: nothing at {data / OUTSIDE[name]}; give --data.")
                continue
            options = replace(options, data=data / OUTSIDE[name])
        start = time.perf_counter()
        with counting_bar(name) as report:
            run_suite(SUITES[name], subject, out, options, report)
        note(f"{name}: {time.perf_counter() - start:.0f} s")


def introduction(command: str) -> str:
    from la_agents.evaluation.adherence import MEASURED

    return INTRODUCTION.format(command=command, cap=min(principle.max_tokens for principle in MEASURED.values()))


if __name__ == "__main__":
    try:
        main()
    except ConfigurationError as error:
        note(f"Error: {error}")
        raise SystemExit(2) from error
