"""`python -m benchmarks.research`: the measurements that the documentation quotes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.research.__main__ import app

PAIRS = Path(__file__).parents[2] / "data" / "preference_pairs.jsonl"
CONVERSATIONS = PAIRS.with_name("learning_conversations.jsonl")


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_consolidation_reports_each_split() -> None:
    report = json.loads(run("consolidation", str(PAIRS), "--json"))
    assert set(report) == {"tuning", "held-out", "all"}
    assert report["all"]["num_independent"] == sum(report[split]["num_independent"] for split in ("tuning", "held-out"))
    assert report["held-out"]["wrongly_replaced"] < 0.02
    assert "contradiction_recall" in run("consolidation", str(PAIRS))


def test_learning_reports_each_split() -> None:
    report = json.loads(run("learning", str(CONVERSATIONS), "--json"))
    assert set(report) == {"tuning", "held-out"}
    assert report["tuning"]["num_conversations"] + report["held-out"]["num_conversations"] >= 120
    assert report["held-out"]["precision"] > 0.9
    assert report["held-out"]["recall"] > 0.25  # rules understand a message wholly or not at all
    assert report["held-out"]["false_alarms"] == 0.0
    assert "precision" in run("learning", str(CONVERSATIONS))


def test_retrieval_reports_both_ways(tmp_path: Path) -> None:
    for topic in range(3):
        items = [
            {"preference": f"I like dish {topic} {n}.", "question": f"Where is dish {topic} {n}?"} for n in range(40)
        ]
        (tmp_path / f"topic{topic}.json").write_text(json.dumps(items))
    rows = json.loads(run("retrieval", str(tmp_path), "--json"))
    assert [(row["num_preferences"], row["way"]) for row in rows] == [
        (size, way) for size in (10, 30, 100) for way in ("cosine", "la-agents")
    ]
    assert all(0 <= row["recall_at"]["1"] <= row["recall_at"]["5"] <= 1 for row in rows)


def test_languages_reports_each_and_all(tmp_path: Path) -> None:
    file = tmp_path / "texts.json"
    said = {"preferences": ["I love jazz.", "I run."], "messages": ["Which jazz?", "Where to run?", "Two plus two?"]}
    file.write_text(json.dumps({"English": said, "Thai": {"preferences": ["ฉันชอบเสื้อ"], "messages": ["เสื้อไหนดี"]}}))
    english, thai, both = json.loads(run("languages", str(file), "--json"))
    assert (english["questions"], english["first"], thai["questions"], thai["first"]) == (2, 2, 1, 1)
    assert both == {"language": "all", **{name: english[name] + thai[name] for name in both if name != "language"}}
    assert "first" in run("languages", str(file))


def test_what_is_no_data_is_one_line(tmp_path: Path) -> None:
    for arguments in (
        ["consolidation", str(tmp_path / "none.jsonl")],
        ["learning", str(PAIRS)],
        ["retrieval", str(tmp_path)],
        ["languages", str(PAIRS)],
    ):
        done = CliRunner().invoke(app, arguments)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "magic"],
        ["run", "wordings", "--principles", "cats"],
        ["run", "wordings", "--strength", "1"],
        ["run", "conflict", "--limit", "0"],
        ["run", "conflict", "--principles", "french"],
    ],
)
def test_wrong_options_are_one_line_before_any_model_is_loaded(arguments: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*arguments, "--model", "no/such/model", "--out", str(tmp_path / "out")])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "no/such/model" not in done.stderr
    assert not (tmp_path / "out").exists()
