"""The suites of choices from end to end: data in, rows and tables out, the same after an interruption; tiny model."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from la_agents.cli import app
from la_agents.errors import ConfigurationError
from la_agents.evaluation.choices import first_of_each, personal
from la_agents.evaluation.choosing import CHOICES
from la_agents.evaluation.runs import read_run
from la_agents.evaluation.subject import Subject
from la_agents.evaluation.suites import Options, run_suite
from tests.tiny import save_tiny_model, tiny_model

PERSONAL = Path(__file__).parents[2] / "data" / "personal_preference.jsonl"
METHODS_TRIED = ("base", "linear", "linear+budget", "best-of-n")


class InterruptedRunError(Exception):
    """What stands for a lost power supply."""


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject(tiny_model("llama"))


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prefeval")
    for topic in ("cooking", "manners"):
        items = [
            {
                "preference": f"Talk like a pirate, {n}.",
                "question": f"What should I cook on day {n}?",
                "classification_task_options": [f"a pirate {n}", f"be brief {n}", f"in French {n}", f"very kind {n}"],
            }
            for n in range(4)
        ]
        (folder / f"{topic}.json").write_text(json.dumps(items))
    return folder


def options(suite: str, topics: Path, limit: int = 3) -> Options:
    data = topics if suite == "prefeval-mcq" else PERSONAL
    return Options(data=data, methods=METHODS_TRIED, strengths=(1.0,), budgets=(0.5,), limit=limit, seed=1)


@pytest.mark.parametrize("suite", ["prefeval-mcq", "personal-preference"])
def test_a_suite_interrupted_anywhere_ends_in_the_same_files(
    suite: str, subject: Subject, topics: Path, tmp_path: Path
) -> None:
    chosen = options(suite, topics)
    whole = run_suite(CHOICES[suite], subject, tmp_path / "whole", chosen)
    assert len(whole.rows) == (3 if suite == "prefeval-mcq" else 12) * len(METHODS_TRIED)

    for power_lasts in (2, 5, 10):

        def lose_power(done: int, total: int, last: int = power_lasts) -> None:
            if done == last:
                raise InterruptedRunError

        with pytest.raises(InterruptedRunError):
            run_suite(CHOICES[suite], subject, tmp_path / "torn", chosen, lose_power)
        assert len(read_run(tmp_path / "torn" / f"{suite}.jsonl")[1]) == power_lasts
    again = run_suite(CHOICES[suite], subject, tmp_path / "torn", chosen)
    for one, other in zip(whole.files, again.files, strict=True):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes()


def test_a_page_shows_settings_and_provenance_and_the_rows_their_groups(
    subject: Subject, topics: Path, tmp_path: Path
) -> None:
    done = run_suite(CHOICES["prefeval-mcq"], subject, tmp_path, options("prefeval-mcq", topics, limit=8))
    page = (tmp_path / "prefeval-mcq.md").read_text()
    for said in ("| linear strength=1 |", "| best-of-n n=4 | - |", "tiny-llama"):
        assert said in page
    assert "prefeval-mcq.png" in page
    assert (tmp_path / "prefeval-mcq.png").read_bytes().startswith(b"\x89PNG")
    assert Counter(row["group"] for row in done.rows) == {"cooking": 16, "manners": 16}


def test_the_unaligned_model_scores_chance_exactly(subject: Subject, topics: Path, tmp_path: Path) -> None:
    run_suite(CHOICES["personal-preference"], subject, tmp_path, options("personal-preference", topics))
    (line,) = [x for x in (tmp_path / "personal-preference.md").read_text().splitlines() if x.startswith("| base |")]
    assert line.split("|")[2:4] == [" 0.25 [0.25, 0.25] "] * 2


def test_a_limit_takes_questions_from_all_groups_in_turn() -> None:
    asked = personal(PERSONAL)
    some = first_of_each(asked, 13)
    assert len(some) == 13 * 4
    counts = Counter(choice.group for choice in some)
    assert len(counts) == 11
    assert max(counts.values()) - min(counts.values()) <= 4
    assert [choice for choice in asked if choice in some] == some
    assert first_of_each(asked, 1000) == first_of_each(asked, None) == asked


def test_what_cannot_be_measured_is_refused_before_anything_is_written(subject: Subject, tmp_path: Path) -> None:
    for wrong in ({"methods": ["magic"]}, {"strengths": [-3.0]}, {"budgets": [-1.0]}, {"limit": 0}, {"data": None}):
        with pytest.raises(ConfigurationError):
            run_suite(CHOICES["personal-preference"], subject, tmp_path / "out", Options(**{"data": PERSONAL, **wrong}))
    assert not (tmp_path / "out").exists()


def test_from_the_command_line(topics: Path, tmp_path: Path) -> None:
    model = str(save_tiny_model("llama", tmp_path / "model"))
    for suite, data in (("prefeval-mcq", topics), ("personal-preference", PERSONAL)):
        arguments = ["evaluate", suite, "--data", str(data), "--model", model, "--limit", "2", "--out", str(tmp_path)]
        done = CliRunner().invoke(app, [*arguments, "--methods", "base,prompt,amulet", "--strength", "1"])
        assert done.exit_code == 0, done.stderr
        assert "| amulet strength=1 |" in done.stdout
        rows = read_run(tmp_path / f"{suite}.jsonl")[1]
        assert {row["setting"] for row in rows} == {"base", "prompt", "amulet strength=1"}
        none = CliRunner().invoke(app, ["evaluate", suite, "--model", model])
        assert (none.exit_code, "--data" in none.stderr) == (2, True)
