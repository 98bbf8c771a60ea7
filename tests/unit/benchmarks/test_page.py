"""The results page: every figure comes from rows, and what does not help is said as plainly as what does."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.research.page import at_equal_divergence, results_page, verdicts
from benchmarks.research.suites import RESEARCH
from benchmarks.results import FULL, QUICK
from la_agents.evaluation.provenance import Provenance
from la_agents.evaluation.runs import Run
from la_agents.evaluation.suites import SUITES, Options, check
from la_agents.evaluation.summary import summarise

ADHERENCE = {
    "pirate": {"base": 0.0, "prompt": 0.2, "linear strength=1": 0.8, "cfg strength=1": 0.1},
    "french": {"base": 0.0, "prompt": 0.95, "linear strength=1": 0.95, "cfg strength=1": 0.95},
    "dogs": {"base": 0.1, "prompt": 0.1, "linear strength=1": 0.1, "cfg strength=1": 0.1},
}
DIVERGENCE = {"base": 0.0, "prompt": 0.2, "linear strength=1": 1.0, "cfg strength=1": 0.6}
PERPLEXITY = {"base": 2.0, "prompt": 2.0, "linear strength=1": 3.0, "cfg strength=1": 9.0}


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
            "relevance": 0.6,
            "divergence": DIVERGENCE[setting],
            "answer": "<script>alert(1)</script> *Arr* `matey`",
        }
        for principle, settings in ADHERENCE.items()
        for setting, adherence in settings.items()
        for question in range(6)
    ]


@pytest.fixture
def page(tmp_path: Path) -> str:
    with Run(tmp_path, Provenance(suite="steerability", model="tiny", seed=0, data="00")) as run:
        run.complete([row["key"] for row in rows()], lambda keys: ((row["key"], row) for row in rows()))
    return results_page(tmp_path, "Introduction.\n")


def test_a_setting_helps_does_not_or_hurts_by_its_paired_interval() -> None:
    assert verdicts(rows()) == [
        ["linear strength=1", "pirate", "french, dogs", "-"],
        ["cfg strength=1", "-", "french, dogs", "pirate"],
    ]


def test_few_questions_tell_nothing() -> None:
    few = [row for row in rows() if row["question"] < 4]
    assert [row[1:] for row in verdicts(few)] == [["-", "pirate, french, dogs", "-"]] * 2


def test_methods_are_compared_at_equal_divergence() -> None:
    (found,) = at_equal_divergence(summarise(rows()))
    prompt, linear, cfg = (sum(ADHERENCE[p][s] for p in ADHERENCE) / 3 for s in list(DIVERGENCE)[1:])
    assert found[0] == "cfg strength=1"
    assert float(str(found[3])) == pytest.approx(cfg - (prompt + linear) / 2, abs=0.006)


def test_the_page_says_where_it_does_not_help(page: str) -> None:
    _, _, section = page.partition("### Where it does not help")
    assert "| cfg strength=1 | - | french, dogs | pirate |" in section
    assert "No setting is shown to help with: french, dogs." in section
    assert "Prompting alone suffices (adherence of 0.9 or more, above the unaligned model's): french." in section
    assert "Perplexity more than twice prompting's (2.0): `cfg strength=1` (9.0)." in section
    assert "Repetition more than 0.1 above prompting's (0.05): `cfg strength=1` (0.30)." in section
    assert "Relevance more than" not in section


def test_every_figure_can_be_traced_to_rows_by_key(page: str, tmp_path: Path) -> None:
    assert "[`results/steerability.jsonl`](results/steerability.jsonl)" in page
    keys = {json.loads(line)["key"] for line in (tmp_path / "steerability.jsonl").read_text().splitlines()[1:]}
    assert "`pirate/linear strength=1/0`, adherence 0.80:" in page
    assert "pirate/linear strength=1/0" in keys
    assert "| linear strength=1 | 0.81 | 0.96 | 0.11 |" in page  # the means of the rows, a column a principle
    assert page.count("*steerability · model tiny · code 0.1.0") >= 3


def test_what_models_write_forms_no_markup(page: str) -> None:
    assert "<script>" not in page
    assert r"\<script\>alert(1)\</script\> \*Arr\* \`matey\`" in page


def test_suites_without_rows_have_no_section(page: str, tmp_path: Path) -> None:
    assert "## Calibration" not in page
    assert results_page(tmp_path / "empty", "Introduction.\n") == "# Results\n\nIntroduction.\n"


@pytest.mark.parametrize("sizes", [FULL, QUICK])
def test_what_make_results_runs_is_possible(sizes: dict[str, Options], tmp_path: Path) -> None:
    topic = [{"preference": "p", "question": "q", "classification_task_options": ["a", "b", "c", "d"]}]
    (tmp_path / "topic.json").write_text(json.dumps(topic))
    assert set(sizes) == {*SUITES, *RESEARCH}
    for name, options in sizes.items():
        check(name, replace(options, data=tmp_path) if name == "prefeval-mcq" else options, RESEARCH.get(name))
