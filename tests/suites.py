"""What the tests of all suites share: a subject that answers by script, and what every suite must do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from la_agents.evaluation.cases import Answer, Case
from la_agents.evaluation.runs import read_run
from la_agents.evaluation.subject import Subject
from la_agents.evaluation.suites import Options, Suite, run_suite
from tests.tiny import tiny_model

__all__ = ["InterruptedRunError", "Scripted", "rows_of", "run_everywhere_interrupted", "run_once"]

_ANSWER = "Arr matey, mettez la plante devant la fenêtre, ye landlubber."


class InterruptedRunError(Exception):
    """Stands for whatever ends a run halfway."""


class Scripted(Subject):
    """A subject whose answers are written here instead of generated; all that is measured about them is real."""

    def __init__(
        self, aligned: str, unaligned: str = "Water the plant twice a week, and put it near a window."
    ) -> None:
        super().__init__(tiny_model("llama"))
        self.aligned, self.unaligned = aligned, unaligned
        self.asked: list[str] = []
        self.fails_at: int | None = None

    def answer(self, cases: Sequence[Case]) -> list[Answer]:
        return [self._answer(case) for case in cases]

    def _answer(self, case: Case) -> Answer:
        if len(self.asked) == self.fails_at:
            raise InterruptedRunError
        self.asked.append(case.key)
        text = self.aligned if case.setting.aligned else self.unaligned
        tokens = tuple(self.loaded.tokenizer.encode(text, add_special_tokens=False))
        return Answer(case, text, tokens, 0.25 * case.setting.aligned, 0.5, "stop")


def rows_of(folder: Path, suite: str) -> list[dict[str, Any]]:
    return read_run(folder / f"{suite}.jsonl")[1]


def run_once(suite: Suite, options: Options, folder: Path) -> None:
    """A suite writes rows, a page and a picture, all with their provenance."""
    name, done = suite.name, run_suite(suite, Scripted(_ANSWER), folder, options)
    assert [file.name for file in done.files][:3] == [f"{name}.jsonl", f"{name}.md", f"{name}.png"]
    page = (folder / f"{name}.md").read_text()
    assert f"*{name} · model tiny-llama (float32, cpu) · code 0.1.0" in page
    assert "data sha256" in page
    assert done.rows == [row for row in rows_of(folder, name) if "setting" in row]
    assert all(f"/{row['setting']}/" in row["key"] for row in done.rows)


def run_everywhere_interrupted(suite: Suite, options: Options, folder: Path) -> None:
    """A suite that was interrupted and taken up again ends in the files of one that was not."""
    whole = Scripted(_ANSWER)
    run_suite(suite, whole, folder / "whole", options)
    for place in (1, len(whole.asked) // 2, len(whole.asked) - 1):
        cut, rest = Scripted(_ANSWER), Scripted(_ANSWER)
        cut.fails_at = place
        with pytest.raises(InterruptedRunError):
            run_suite(suite, cut, folder / str(place), options)
        run_suite(suite, rest, folder / str(place), options)
        for file in (f"{suite.name}.jsonl", f"{suite.name}.md", f"{suite.name}.png"):
            assert (folder / str(place) / file).read_bytes() == (folder / "whole" / file).read_bytes()
