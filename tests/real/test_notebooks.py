"""The notebooks of the documentation run, and what is printed in them is what they print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from docs.run_notebooks import NOTEBOOKS, as_markdown, code_cells, run

pytestmark = pytest.mark.usefixtures("bundled_model")

PROMISED = {
    "rag-assistant": ("alice: ", "bob: ", "seals", "crabs", "gulls", "Keep it short and simple."),
    "existing-app": (
        "The usual answer.",
        "accines",
        "refused: Expected a user",
        "tokens changed",
        "preferences used: 1",
    ),
    "preference-manager": (
        "suggested scope for the allergy: always",
        "the older one is now: superseded",
        "after undo: active",
        "proposed: ",
        "bob has: []",
        "after erasing: []",
    ),
}


def test_each_notebook_is_tested_and_has_a_page() -> None:
    assert {path.stem for path in NOTEBOOKS} == PROMISED.keys()
    for path in NOTEBOOKS:
        assert path.with_suffix(".md").read_text() == f"<!-- notebook {path.name} -->\n"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_prints_what_it_says(path: Path, tmp_path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    printed = run(notebook, tmp_path)
    said = ["".join(line for output in cell["outputs"] for line in output["text"]) for cell in code_cells(notebook)]
    assert [bool(text) for text in printed] == [bool(text) for text in said]
    for texts in (printed, said):  # the words of an answer may differ where floats are rounded otherwise
        for promised in PROMISED[path.stem]:
            assert any(promised in text for text in texts), promised


def test_a_page_shows_text_code_and_output() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Words."]},
        {"cell_type": "code", "source": ["print(1)"], "outputs": [{"text": ["1\n"]}]},
    ]
    assert as_markdown({"cells": cells}) == "# Title\nWords.\n\n```py\nprint(1)\n```\n\n``` { .text .output }\n1\n```"
