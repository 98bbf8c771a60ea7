"""Steerability: open questions x principles x settings; how far each answer follows, and what that costs.

Rows of a run, by key, beside those of `la_agents.evaluation.measuring`:

    <principle>/base/<question>                adherence of the unaligned answer, cut to the principle's cap
    <principle>/<setting>/<question>           adherence, costs, divergence and text of an aligned answer
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from la_agents.evaluation.adherence import MeasuredPrinciple, measured_named
from la_agents.evaluation.cases import Case
from la_agents.evaluation.measuring import Unaligned, can_measure, follow, follow_case
from la_agents.evaluation.methods import BASE, Setting
from la_agents.evaluation.questions import OpenQuestion
from la_agents.evaluation.reports import steerability_report
from la_agents.evaluation.suites import Options, Plan, Suite
from la_agents.evaluation.summary import PROMPTS

__all__ = ["STEERABILITY", "STRENGTHS", "plan_of"]

_METHODS = [*PROMPTS, "calibrated", "tapered", "tapered+fluency", "linear", "amulet", "cfg", "best-of-n"]
"""Compared by default. With a single principle, `linear-sum` is `linear`."""
STRENGTHS = (1.0, 2.0, 4.0)


def plan_of(
    questions: Sequence[OpenQuestion], principles: Sequence[MeasuredPrinciple], settings: Sequence[Setting], seed: int
) -> Plan:
    """Every question under every principle, unaligned and with every setting.

    Args:
        seed: Of the settings that draw.
    """

    def cases(unaligned: Unaligned) -> Iterator[Case]:
        # Settings innermost: neighbours share prompts, which the engine then computes once.
        for one in principles:
            for question in questions:
                for setting in (BASE, *settings) if can_measure(one, question, unaligned) else ():
                    yield follow_case(
                        one.id, ((one, 1.0),), setting, question, unaligned, {"principle": one.id}, seed=seed
                    )

    facts = {
        "num_questions": len(questions),
        "principles": {principle.id: [principle.text, principle.max_tokens] for principle in principles},
        "settings": [setting.key for setting in settings],
    }
    return Plan(facts, follow(questions, max(principle.max_tokens for principle in principles), cases))


def _plan(options: Options) -> Plan:
    settings = options.settings(_METHODS, STRENGTHS)
    return plan_of(options.questions(), measured_named(options.principles), settings, options.seed)


STEERABILITY = Suite("steerability", _plan, steerability_report)
