"""The research suites on a tiny model: what is asked, what is resumed, what is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.research.suites import RESEARCH
from la_agents.errors import ConfigurationError
from la_agents.evaluation.measuring import BLOCK
from la_agents.evaluation.subject import Subject
from la_agents.evaluation.suites import Options, run_suite
from tests.suites import Scripted, run_everywhere_interrupted, run_once
from tests.tiny import tiny_model

CONFLICT = RESEARCH["conflict"]
SMALL = {
    "conflict": Options(limit=2),
    "wordings": Options(principles=("pirate",), limit=2),
}


@pytest.fixture(scope="module")
def tiny() -> Subject:
    return Subject(tiny_model("llama"))


@pytest.mark.parametrize("suite", SMALL)
def test_a_suite_writes_rows_a_page_and_a_picture_with_provenance(suite: str, tmp_path: Path) -> None:
    run_once(RESEARCH[suite], SMALL[suite], tmp_path)


@pytest.mark.parametrize("suite", SMALL)
def test_a_suite_interrupted_anywhere_ends_in_the_same_files(suite: str, tmp_path: Path) -> None:
    run_everywhere_interrupted(RESEARCH[suite], SMALL[suite], tmp_path)


def test_what_is_finished_is_not_asked_again(tmp_path: Path) -> None:
    whole = Scripted("Oui, mettez de l'eau.")
    (rows, *_) = run_suite(CONFLICT, whole, tmp_path, Options(limit=5)).files
    again = Scripted("Non.")
    run_suite(CONFLICT, again, tmp_path, Options(limit=5))
    assert again.asked == []
    rows.write_bytes(b"".join(rows.read_bytes().splitlines(keepends=True)[:-1]))
    run_suite(CONFLICT, again, tmp_path, Options(limit=5))
    assert 0 < len(again.asked) <= BLOCK < len(whole.asked)  # the last one's block


def test_rows_of_another_version_of_a_suite_are_not_continued(tmp_path: Path) -> None:
    subject, options = Scripted("Oui, mettez de l'eau."), Options(limit=1)
    run_suite(CONFLICT, subject, tmp_path, options)
    changed = tmp_path / "conflict.py"
    changed.write_text("# another version")
    with pytest.raises(ConfigurationError, match="its settings differ"):
        run_suite(replace(CONFLICT, source=changed), subject, tmp_path, options)


def test_conflicting_principles_get_their_weights(tiny: Subject, tmp_path: Path) -> None:
    rows = run_suite(CONFLICT, tiny, tmp_path, Options(limit=1)).rows
    french = [row for row in rows if row["pair"] == "french+german"]
    assert [(row["method"], row["weights"]) for row in french] == [
        (method, weights) for weights in ("3:1", "1:1", "1:3") for method in ("linear", "linear-sum")
    ]
    joint = {row["answer"] for row in french if row["method"] == "linear"}
    separate = {row["answer"] for row in french if row["method"] == "linear-sum"}
    assert len(joint) == 1  # their mean is all it knows
    assert len(separate) == 3


def test_each_wording_is_put_to_the_model(tiny: Subject, tmp_path: Path) -> None:
    options = Options(principles=("pirate",), limit=1)
    rows = run_suite(RESEARCH["wordings"], tiny, tmp_path, options).rows
    assert [row["wording"] for row in rows[::2]] == ["bare", "must", "prefers", "adhere", "remember"]
    assert len({row["answer"] for row in rows if row["method"] == "prompt"}) == 5
