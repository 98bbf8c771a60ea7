"""Tasks that no principle concerns, through lm-eval on tiny models."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from lm_eval.api.instance import Instance

from benchmarks.research.capability import DATA, _data, _names, _parted, _tasks
from benchmarks.research.suites import RESEARCH
from la_agents.evaluation.lm_eval import LinearAlignmentLM
from la_agents.evaluation.provenance import checksum
from la_agents.evaluation.subject import Subject
from la_agents.evaluation.suites import Options, run_suite
from tests.tiny import tiny_model

SUITE = RESEARCH["capability"]
FEW = Options(methods=("prompt", "calibrated"), principles=("pirate", "formal"), limit=2)


@pytest.fixture(scope="module")
def tiny() -> Subject:
    return Subject(tiny_model("llama"))


def test_every_task_is_scored_once_without_and_under_each_principle_and_setting(tiny: Subject, tmp_path: Path) -> None:
    done = run_suite(SUITE, tiny, tmp_path, FEW)
    assert len(done.rows) == 3 * 2 * (1 + 2 * 2)  # tasks, items, without and principles with settings
    assert {row["key"] for row in done.rows if row["task"] == "choice" and row["question"] == 1} == {
        "choice -/base/1",
        *(f"choice {name}/{setting}/1" for name in ("pirate", "formal") for setting in ("prompt", "calibrated")),
    }
    assert all(row["score"] in (0.0, 1.0) for row in done.rows if row["task"] != "text")
    first, rest = _parted(_data()["text"][0])
    lm = LinearAlignmentLM(model=tiny.loaded)
    said = [{"role": "user", "content": f"Go on with this text, in the same manner: {first}"}]
    ((total, _),) = lm.loglikelihood([Instance("loglikelihood", {}, (lm.apply_chat_template(said), rest), 0)])
    (row,) = (row for row in done.rows if row["key"] == "text -/base/0")
    assert row["score"] == pytest.approx(-total / math.log(2) / len(rest.encode()), abs=1e-3)
    whole = done.files[0].read_bytes()
    done.files[0].write_bytes(whole[: len(whole) // 2])
    assert run_suite(SUITE, tiny, tmp_path, FEW).files[0].read_bytes() == whole
    page = (tmp_path / "capability.md").read_text()
    assert "| text | base | 2 |" in page
    assert f"data sha256 {checksum(DATA)[:12]}" in page


@pytest.mark.parametrize(
    ("answer", "right"),
    [("12", True), ("7 + 5 = 12.", True), ("It is 12!", True), ("7 + 5 = 13", False), ("Twelve", False), ("", False)],
)
def test_an_answer_names_the_sum_or_does_not(answer: str, right: bool) -> None:
    assert _names(answer, 12) is right


def test_the_right_answer_is_not_always_at_the_same_place() -> None:
    docs = list(_tasks()["choice"].test_docs())
    assert {doc["place"] for doc in docs} == {0, 1, 2, 3}
    data = {question: right for question, right, *_ in _data()["choice"]}
    assert all(doc["options"][doc["place"]] == data[doc["text"]] for doc in docs)


def test_a_text_is_parted_after_its_first_sentence() -> None:
    assert _parted("A map shows roads. It is flat. So what?") == ("A map shows roads.", "It is flat. So what?")
    assert all(rest for _, rest in map(_parted, _data()["text"]))
