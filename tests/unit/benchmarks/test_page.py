"""The results page: every figure comes from rows, and what does not help is said as plainly as what does."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.research.page import results_page
from benchmarks.results import FULL, QUICK, SUITES
from la_agents.evaluation.provenance import provenance
from la_agents.evaluation.runs import Run
from la_agents.evaluation.suites import Options, prepare

ADHERENCE = {
    "pirate": {"base": 0.0, "prompt": 0.2, "calibrated": 0.8, "cfg strength=1": 0.1},
    "french": {"base": 0.0, "prompt": 0.95, "calibrated": 0.95, "cfg strength=1": 0.95},
    "dogs": {"base": 0.1, "prompt": 0.1, "calibrated": 0.1, "cfg strength=1": 0.1},
}
DIVERGENCE = {"base": 0.0, "prompt": 0.2, "calibrated": 1.0, "cfg strength=1": 0.6}
PROMPTED = {"base": None, "prompt": 1.5, "calibrated": 2.0, "cfg strength=1": 4.0}
PERPLEXITY = {"base": 2.0, "prompt": 2.0, "calibrated": 3.0, "cfg strength=1": 9.0}


def rows() -> list[dict[str, Any]]:
    return [
        {
            "key": f"{principle}/{setting}/{question}",
            "principle": principle,
            "setting": setting,
            "method": setting.split()[0],
            "strength": 1.0 if "=" in setting else None,
            "max_divergence": None,
            "question": question,
            "adherence": adherence + 0.02 * (question % 2),
            "distinct_2": 0.9,
            "repetition": 0.3 if setting == "cfg strength=1" else 0.05,
            "nll": math.log(PERPLEXITY[setting]),
            "nll_prompted": PROMPTED[setting] and math.log(PROMPTED[setting]),
            "relevance": 0.6,
            "divergence": DIVERGENCE[setting],
            "answer": "<script>alert(1)</script> *Arr* `matey`",
        }
        for principle, settings in ADHERENCE.items()
        for setting, adherence in settings.items()
        for question in range(6)
    ]


def write(folder: Path, suite: str, measured: list[dict[str, Any]]) -> None:
    with Run(folder, provenance(suite=suite, model="tiny", seed=0, data="00")) as run:
        run.complete([row["key"] for row in measured], lambda keys: ((row["key"], row) for row in measured))


@pytest.fixture
def page(tmp_path: Path) -> str:
    write(tmp_path / "results" / "tiny", "steerability", rows())
    return results_page(tmp_path / "results", "Introduction.\n")


def test_a_setting_helps_or_hurts_by_its_paired_interval_against_the_best_prompting(page: str) -> None:
    assert "Best way of prompting: `prompt`, adherence 0.43 [0.42, 0.43]." in page
    assert "Help: `calibrated` +0.20 [+0.20, +0.20]." in page
    assert "Hurt: `cfg strength=1` -0.03 [-0.03, -0.03]." in page
    assert "The default (`calibrated`) helps with: pirate +0.60." in page
    assert "The default (`calibrated`) makes no clear difference with: french +0.00, dogs +0.00." in page
    assert "More than 0.05 below the best prompting: no principle." in page
    assert "Prompting alone has 0.9 or more with: french." in page


def test_a_principle_that_the_default_costs_is_named(tmp_path: Path) -> None:
    worse = [{**row, "adherence": 0.5} if row["setting"] == "calibrated" else row for row in rows()]
    write(tmp_path / "results" / "tiny", "steerability", worse)
    page = results_page(tmp_path / "results", "Introduction.\n")
    assert "The default (`calibrated`) hurts with: french -0.46." in page
    assert "More than 0.05 below the best prompting: french -0.46." in page


def test_few_questions_tell_nothing_of_a_principle(tmp_path: Path) -> None:
    few = [row for row in rows() if row["question"] < 4]
    write(tmp_path / "results" / "tiny", "steerability", few)
    page = results_page(tmp_path / "results", "Introduction.\n")
    assert "makes no clear difference with: pirate +0.60, french +0.00, dogs +0.00." in page
    assert "helps with" not in page


def test_the_table_has_what_is_gained_and_what_it_costs(page: str, tmp_path: Path) -> None:
    assert "| calibrated | 0.63 [0.62, 0.63] | +0.20 [+0.20, +0.20] | 3.00 | 2.00 | 0.05 | 0.60 | 1.00 |" in page
    (base,) = [line for line in page.splitlines() if line.startswith("| base |")]
    assert base.endswith("| 2.00 | - | 0.05 | 0.60 | 0.00 |")
    assert "perplexity under the unaligned model 2.00 to 3.00, under the prompt with the principle 1.50 to 2.00" in page
    assert "![Adherence against perplexity](results/tiny/frontier.png)" in page
    assert (tmp_path / "results" / "tiny" / "frontier.png").stat().st_size > 1000
    assert "[steerability](results/tiny/steerability.jsonl)" in page
    assert page.count("*steerability · model tiny · code 0.1.0") == 1


def test_other_suites_have_a_line_each(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "tiny"
    write(folder, "steerability", rows())
    moved = [
        {**row, "kind": "arrives", "turns": turns, "key": f"arrives {turns} {row['key']}"}
        for turns in (0, 4, 8)
        for row in rows()
    ]
    write(folder, "conversation", moved)
    write(folder, "ifeval", [{**row, "adherence": float(row["adherence"] > 0.5)} for row in rows()])
    scores = {"-/base": 1.0, "pirate/calibrated": 0.5, "pirate/prompt": 1.0}
    capability = [
        {
            "key": f"sums {name}/{number}",
            "task": "sums",
            "principle": name.split("/")[0],
            "setting": name.split("/")[1],
            "method": name.split("/")[1],
            "question": number,
            "score": score,
        }
        for name, score in scores.items()
        for number in range(3)
    ]
    write(folder, "capability", capability)
    page = results_page(tmp_path / "results", "Introduction.\n")
    assert "| the principle arrives after 8 turns | 0.43 [0.42, 0.43] (prompt) | 0.63 [0.62, 0.63] |" in page
    assert "after 4 turns" not in page
    assert "| IFEval's single instructions, strict accuracy | 0.33 [0.33, 0.33] (prompt) | 0.67 [0.67, 0.67] |" in page
    assert "accuracy on sums: 1.00 [1.00, 1.00] without one, -0.50 [-0.50, -0.50] with one." in page


def test_each_model_has_a_section_and_none_has_no_page(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / "results" / name, "steerability", rows())
    assert results_page(tmp_path / "results", "Introduction.\n").count("## tiny\n") == 2
    assert results_page(tmp_path / "empty", "Introduction.\n") == "# Results\n\nIntroduction.\n"


@pytest.mark.parametrize("sizes", [FULL, QUICK])
def test_what_make_results_runs_is_possible(sizes: dict[str, Options], tmp_path: Path) -> None:
    topic = [{"preference": "p", "question": "q", "classification_task_options": ["a", "b", "c", "d"]}]
    (tmp_path / "topic.json").write_text(json.dumps(topic))
    task = {"question": "Why?", "prompt": "Why?", "instruction_id": "punctuation:no_comma", "kwargs": {}}
    (tmp_path / "tasks.jsonl").write_text(json.dumps(task))
    outside = {"prefeval-mcq": tmp_path, "ifeval": tmp_path / "tasks.jsonl"}
    for name, options in sizes.items():
        assert prepare(SUITES[name], replace(options, data=outside.get(name, options.data))).facts
