"""Steerability: open questions x principles x settings; how far each answer follows, and what that costs.

Rows of a run, by key:

    unaligned/<question>                       the unaligned answer, whole: text and tokens
    <principle>/base/<question>                its adherence, cut to the principle's cap
    <principle>/<setting>/<question>           adherence, costs, divergence and text of an aligned answer
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from la_agents.evaluation.adherence import MeasuredPrinciple
from la_agents.evaluation.cases import EvalCase, can_measure, measure_cases
from la_agents.evaluation.methods import Setting, methods_named
from la_agents.evaluation.questions import OpenQuestion
from la_agents.evaluation.unaligned import BASE, Unaligned

if TYPE_CHECKING:
    from la_agents.evaluation.runs import Report, Row, Run
    from la_agents.evaluation.subject import Subject

__all__ = ["BUDGETS", "METHODS", "STRENGTHS", "Plan", "measure", "settings_of"]

METHODS = (
    "base",
    "prompt",
    "prompt-system",
    "prompt-user",
    "calibrated",
    "tapered",
    "tapered+fluency",
    "linear",
    "amulet",
    "cfg",
    "best-of-n",
)
"""Compared by default. With a single principle, `linear-sum` is `linear`."""

STRENGTHS = (1.0, 2.0, 4.0)
BUDGETS = (0.3,)


def settings_of(names: Sequence[str], strengths: Sequence[float], budgets: Sequence[float]) -> list[Setting]:
    """The points of the named methods, without the unaligned model, which always takes part.

    Raises:
        ConfigurationError: there is no method of one of the names, or a strength or budget is out of range.
    """
    points = [point for method in methods_named(names) for point in method.points(strengths, budgets)]
    for point in points:
        point.alignment()
    return [point for point in points if point.aligned]


@dataclass(frozen=True)
class Plan:
    """What is measured; the unaligned model takes part beside the settings.

    Attributes:
        seed: Of the settings that draw.
    """

    questions: Sequence[OpenQuestion]
    principles: Sequence[MeasuredPrinciple]
    settings: Sequence[Setting]
    seed: int = 0

    def as_settings(self) -> dict[str, Any]:
        """For the provenance: everything but the questions, which the data's checksum stands for."""
        return {
            "num_questions": len(self.questions),
            "principles": {principle.id: [principle.text, principle.max_tokens] for principle in self.principles},
            "settings": [setting.key for setting in self.settings],
        }


def measure(run: Run, subject: Subject, plan: Plan, report: Report | None = None) -> list[Row]:
    """Do what is missing of a plan; its adherence rows in order."""
    longest = max(principle.max_tokens for principle in plan.principles)

    def cases(unaligned: Unaligned) -> Iterator[EvalCase]:
        # Settings innermost: neighbours share prompts, which the engine then computes once.
        for principle in plan.principles:
            for question in plan.questions:
                if can_measure(principle, question, unaligned):
                    yield from (_case(principle, setting, question) for setting in (BASE, *plan.settings))

    return measure_cases(run, subject, plan.questions, longest, cases, seed=plan.seed, report=report)


def _case(principle: MeasuredPrinciple, setting: Setting, question: OpenQuestion) -> EvalCase:
    key = f"{principle.id}/{setting.key}/{question.index}"
    return EvalCase(key, question, ((principle, 1.0),), setting, {"principle": principle.id})
