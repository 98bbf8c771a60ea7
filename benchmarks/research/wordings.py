"""Wordings: the same principles put to the model in different words; which are followed best?

Rows: `<wording> <principle>/<setting>/<question>`, as a steerability run has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from la_agents.evaluation.adherence import MeasuredPrinciple
from la_agents.evaluation.cases import EvalCase, can_measure, measure_cases
from la_agents.evaluation.methods import Setting
from la_agents.evaluation.plots import Panel
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.questions import OpenQuestion
from la_agents.evaluation.reports import ADHERENCE, COSTS, LEGEND, cost_cells, point, write_report
from la_agents.evaluation.runs import Row
from la_agents.evaluation.summary import grouped, summarise
from la_agents.evaluation.tables import Cell, markdown_table
from la_agents.evaluation.unaligned import Unaligned
from la_agents.prompts.builder import Wording

if TYPE_CHECKING:
    from la_agents.evaluation.runs import Report, Run
    from la_agents.evaluation.subject import Subject

__all__ = ["SETTINGS", "WORDINGS", "Plan", "measure", "report", "wordings_table"]

SETTINGS = (Setting("prompt"), Setting("linear", 1.0))

WORDINGS: Mapping[str, Wording] = {
    "bare": Wording(),
    "must": Wording(one="You must follow this instruction in every sentence: {principle}"),
    "prefers": Wording(one="The user has this preference, and your answer follows it: {principle}"),
    "adhere": Wording(one="Please adhere to the following principle.\n{principle}"),
    "remember": Wording(one="Remember: {principle}"),
}
"""For a single principle; `bare` is the principle itself, `adhere` is close to the paper's."""


@dataclass(frozen=True)
class Plan:
    """What is measured: every wording with every principle and setting."""

    questions: Sequence[OpenQuestion]
    principles: Sequence[MeasuredPrinciple]
    settings: Sequence[Setting] = SETTINGS
    wordings: Mapping[str, Wording] = field(default_factory=lambda: WORDINGS)
    seed: int = 0

    def as_settings(self) -> dict[str, Any]:
        """For the provenance."""
        return {
            "num_questions": len(self.questions),
            "principles": {principle.id: [principle.text, principle.max_tokens] for principle in self.principles},
            "wordings": {name: wording.one for name, wording in self.wordings.items()},
            "settings": [setting.key for setting in self.settings],
        }


def measure(run: Run, subject: Subject, plan: Plan, report: Report | None = None) -> list[Row]:
    """Do what is missing of a plan; its rows in order."""
    longest = max(principle.max_tokens for principle in plan.principles)

    def cases(unaligned: Unaligned) -> Iterator[EvalCase]:
        for name in plan.wordings:
            for principle in plan.principles:
                for question in plan.questions:
                    if can_measure(principle, question, unaligned):
                        yield from (_case(plan, name, principle, setting, question) for setting in plan.settings)

    return measure_cases(run, subject, plan.questions, longest, cases, seed=plan.seed, report=report)


def _case(plan: Plan, name: str, principle: MeasuredPrinciple, setting: Setting, question: OpenQuestion) -> EvalCase:
    key = f"{name} {principle.id}/{setting.key}/{question.index}"
    fields = {"wording": name, "principle": principle.id}
    return EvalCase(key, question, ((principle, 1.0),), setting, fields, plan.wordings[name])


def report(folder: Path, header: Row, rows: Sequence[Row]) -> list[Path]:
    """How well principles are followed in each wording."""
    line = provenance_line(header)
    panels = [
        Panel(
            setting,
            "divergence, nats a token",
            "adherence",
            {name: [point(summary)] for name, own in grouped(part, "wording").items() for summary in summarise(own)},
            ADHERENCE,
        )
        for setting, part in grouped(rows, "setting").items()
    ]
    return write_report(folder, "wordings", "Wordings", [LEGEND, wordings_table(rows, line)], panels, line)


def wordings_table(rows: Sequence[Row], line: str) -> str:
    """A row a wording and setting."""
    cells: list[list[Cell]] = [
        [name, *cost_cells(summary)[:3], *cost_cells(summary)[4:]]
        for name, own in grouped(rows, "wording").items()
        for summary in summarise(own)
    ]
    return markdown_table(["wording", "setting", "answers", "adherence", *COSTS], cells, line)
