"""Single instructions as principles: read, worded and judged by IFEval's own verifiers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.research.ifeval import Instruction, read_instructions
from benchmarks.research.suites import RESEARCH
from la_agents.errors import ConfigurationError
from la_agents.evaluation.suites import Options, run_suite
from tests.data_folder import data_folder
from tests.suites import Scripted, run_everywhere_interrupted, run_once

TASKS: list[dict[str, Any]] = [
    {"instruction_id": "punctuation:no_comma", "kwargs": {}},
    {"instruction_id": "change_case:english_lowercase", "kwargs": {}},
    {"instruction_id": "keywords:forbidden_words", "kwargs": {"forbidden_words": ["sun", "rain"]}},
    {"instruction_id": "punctuation:no_comma", "kwargs": {"num_words": None}},
    {"instruction_id": "change_case:capital_word_frequency", "kwargs": {"capital_frequency": 2}},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    lines = [{**task, "question": f"What is weather {n}?", "prompt": "..."} for n, task in enumerate(TASKS)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.mark.parametrize(
    ("id", "kwargs", "follows", "does_not"),
    [
        ("punctuation:no_comma", {}, "Warm and dry today.", "Warm, and dry."),
        ("change_case:english_lowercase", {}, "it is warm and dry outside today.", "It is warm and dry outside today."),
        ("keywords:forbidden_words", {"forbidden_words": ["sun"]}, "It is warm.", "The sun shines."),
        ("startend:quotation", {}, '"Warm and dry."', "Warm and dry."),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* warm\n* dry", "* warm"),
        ("language:response_language", {"language": "de"}, "Es ist heute warm und trocken.", "It is warm today."),
    ],
)
def test_an_answer_follows_or_not_as_ifeval_says(id: str, kwargs: dict[str, Any], follows: str, does_not: str) -> None:
    one = Instruction(0, id, "What is the weather?", "...", kwargs)
    assert (one.adherence("", follows, ""), one.adherence("", does_not, ""), one.adherence("", "  ", "")) == (1, 0, 0)
    assert one.text == one.text  # no word of it is drawn


def test_the_instruction_by_itself_is_the_principle() -> None:
    one = Instruction(0, "keywords:forbidden_words", "Why?", "...", {"forbidden_words": ["sun", "rain"]})
    assert one.text == "Do not include keywords ['rain', 'sun'] in the response."


def test_what_cannot_be_verified_here_is_left_out_by_name(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.research.ifeval._has_punkt", lambda: False)
    found, skipped = read_instructions(data)
    assert [one.index for one in found] == [0, 3, 1, 2]
    assert found[1].kwargs == {}
    assert skipped == {"change_case:capital_word_frequency": 1}
    assert [one.index for one in read_instructions(data, limit=3)[0]] == [0, 1, 2]  # of each in turn


def test_the_published_tasks_are_read(tmp_path: Path) -> None:
    found, skipped = read_instructions(data_folder("ifeval") / "single_instruction.jsonl")
    assert len(found) + sum(skipped.values()) == 134
    assert len({one.index for one in found}) == len(found)
    assert all(one.text for one in found)


@pytest.mark.parametrize("content", ["{", "[]", "3", '{"question": "Why?"}', '{"instruction_id": "magic"}', ""])
def test_what_is_no_such_data_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(content)
    with pytest.raises(ConfigurationError, match="Expected"):
        read_instructions(tmp_path / "data.jsonl")


def test_an_unknown_instruction_is_named(tmp_path: Path) -> None:
    line = {"instruction_id": "magic:wand", "kwargs": {}, "question": "Why?", "prompt": "Why?"}
    (tmp_path / "data.jsonl").write_text(json.dumps(line))
    with pytest.raises(ConfigurationError, match="magic:wand"):
        read_instructions(tmp_path / "data.jsonl")


def test_the_suite_scores_each_setting(data: Path, tmp_path: Path) -> None:
    suite, options = RESEARCH["ifeval"], Options(data=data, methods=("prompt", "tapered"), strengths=(1.0,))
    subject = Scripted("it is warm and dry outside today.", unaligned="Warm, dry and sun.")
    done = run_suite(suite, subject, tmp_path / "out", options)
    by_method = {m: [r["adherence"] for r in done.rows if r["method"] == m] for m in ("base", "prompt", "tapered")}
    assert set(by_method["prompt"]) == set(by_method["tapered"]) == {1.0}
    assert set(by_method["base"]) == {0.0}
    page = (tmp_path / "out" / "ifeval.md").read_text()
    assert "| punctuation:no_comma | tapered strength=1 | 2 | 1.00 [1.00, 1.00] | +0.00 [+0.00, +0.00] |" in page


def test_the_suite_resumes(data: Path, tmp_path: Path) -> None:
    options = Options(data=data, methods=("prompt",))
    run_once(RESEARCH["ifeval"], options, tmp_path / "once")
    run_everywhere_interrupted(RESEARCH["ifeval"], options, tmp_path / "cut")
