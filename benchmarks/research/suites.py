"""The research suites that run a model, by name; `la_agents.evaluation.suites` runs them."""

from __future__ import annotations

from benchmarks.research import conflict, wordings
from la_agents.evaluation import steerability
from la_agents.evaluation.adherence import measured_named
from la_agents.evaluation.suites import Options, Suite

__all__ = ["RESEARCH"]


def _conflict(options: Options) -> conflict.Plan:
    settings = steerability.settings_of(
        options.methods or conflict.METHODS, options.strengths or (1.0,), options.budgets or steerability.BUDGETS
    )
    return conflict.Plan(options.questions(), settings, seed=options.seed)


def _wordings(options: Options) -> wordings.Plan:
    return wordings.Plan(options.questions(), measured_named(options.principles), seed=options.seed)


RESEARCH = {
    "conflict": Suite(_conflict, conflict.measure, conflict.report, takes=("data", "methods", "strengths", "budgets")),
    "wordings": Suite(_wordings, wordings.measure, wordings.report, takes=("data", "principles")),
}
