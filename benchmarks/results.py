"""docs/results.md, from runs of all suites on the bundled model: `make results`, in pieces if need be.

    python -m benchmarks.results [--quick] [--prefeval FOLDER] [--page-only]

Rows and pictures go to docs/results/, the page beside it. An interrupted run is taken up again; rows of other code
are refused by name, so remove them to measure anew. `--quick` does a few questions, and writes to results/quick.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.research.page import results_page
from benchmarks.research.suites import RESEARCH
from la_agents.cli.terminal import counting_bar, note
from la_agents.evaluation.subject import Subject
from la_agents.evaluation.suites import Options, run_suite
from la_agents.models import load_model

ROOT = Path(__file__).parents[1]
PERSONAL = ROOT / "tests" / "data" / "personal_preference.jsonl"
PREFEVAL = Path(os.environ.get("LA_AGENTS_DATA", ROOT.parent / "shared" / "data")) / "prefeval"

CHOICE_METHODS = ("base", "prompt", "linear", "amulet", "cfg", "best-of-n")

FULL = {
    "steerability": Options(limit=8),
    "conflict": Options(limit=5),
    "wordings": Options(limit=5, principles=("french", "pirate", "bullets", "formal", "dogs", "lower-case")),
    "calibration": Options(limit=5),
    "prefeval-mcq": Options(limit=30, methods=CHOICE_METHODS, strengths=(0.0, 1.0, 3.0)),
    "personal-preference": Options(limit=6, data=PERSONAL, methods=CHOICE_METHODS, strengths=(0.0, 1.0, 3.0)),
}
"""Sized for half an hour on two idle cores; the page says so."""

_FEW = ("french", "pirate", "formal", "concise")
QUICK = {
    "steerability": Options(
        limit=2,
        principles=_FEW,
        methods=("prompt", "linear", "linear+budget", "cfg"),
        strengths=(1.0, 3.0),
        budgets=(0.5,),
    ),
    "conflict": Options(limit=1),
    "wordings": Options(limit=1, principles=("pirate", "formal")),
    "calibration": Options(limit=2, principles=("pirate", "formal")),
    "prefeval-mcq": Options(limit=3, methods=("prompt", "linear"), strengths=(1.0,)),
    "personal-preference": Options(limit=2, data=PERSONAL, methods=("prompt", "linear"), strengths=(1.0,)),
}

INTRODUCTION = """\
Written by `{command}` from the rows that it measured; no figure on this page is typed by hand. The model is the bundled
one, on a CPU. The sizes are chosen so that all of it fits into {time} on two cores: few questions, short answers
({cap} tokens where length does not matter). So intervals are wide, and what lies inside them is not known. Your own
model, more questions, other principles: [how to evaluate](how-to/evaluate.md).
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few questions, into results/quick")
    parser.add_argument("--prefeval", type=Path, default=PREFEVAL, help="its folder of topics; skipped if absent")
    parser.add_argument("--page-only", action="store_true", help="write the page from the rows that are there")
    given = parser.parse_args(arguments)
    page = ROOT / "results" / "quick" / "results.md" if given.quick else ROOT / "docs" / "results.md"
    folder = page.parent / "results"
    if not given.page_only:
        measure(folder, QUICK if given.quick else FULL, given.prefeval)
    page.write_text(results_page(folder, introduction(quick=given.quick)), encoding="utf-8")
    note(f"Wrote {page}")


def measure(folder: Path, sizes: dict[str, Options], prefeval: Path) -> None:
    """Run every suite, or what is missing of it."""
    subject = Subject(load_model())
    for name, options in sizes.items():
        if name == "prefeval-mcq":
            if not prefeval.is_dir():
                note(f"Left out {name}: no folder {prefeval}; give --prefeval.")
                continue
            options = Options(**{**vars(options), "data": prefeval})
        start = time.perf_counter()
        with counting_bar(name) as report:
            run_suite(name, subject, folder, options, report, RESEARCH.get(name))
        note(f"{name}: {time.perf_counter() - start:.0f} s")


def introduction(*, quick: bool) -> str:
    from la_agents.evaluation.adherence import MEASURED

    return INTRODUCTION.format(
        command="python -m benchmarks.results --quick" if quick else "make results",
        time="minutes" if quick else "half an hour",
        cap=min(principle.max_tokens for principle in MEASURED.values()),
    )


if __name__ == "__main__":
    main()
