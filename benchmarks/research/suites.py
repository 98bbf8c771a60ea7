"""The research suites that run a model, by name; `la_agents.evaluation.suites` runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.research import capability, conflict, conversation, ifeval, wordings
from la_agents.errors import ConfigurationError
from la_agents.evaluation import steerability
from la_agents.evaluation.adherence import measured_named
from la_agents.evaluation.methods import Setting
from la_agents.evaluation.questions import DEFAULT_QUESTIONS, read_questions
from la_agents.evaluation.suites import Options, Suite

__all__ = ["RESEARCH"]


def _settings(options: Options, methods: tuple[str, ...]) -> list[Setting]:
    return steerability.settings_of(
        options.methods or methods, options.strengths or (2.0,), options.budgets or steerability.BUDGETS
    )


def _conflict(options: Options) -> conflict.Plan:
    settings = steerability.settings_of(
        options.methods or conflict.METHODS, options.strengths or (1.0,), options.budgets or steerability.BUDGETS
    )
    return conflict.Plan(options.questions(), settings, seed=options.seed)


def _wordings(options: Options) -> wordings.Plan:
    return wordings.Plan(options.questions(), measured_named(options.principles), seed=options.seed)


def _conversation(name: str, options: Options) -> conversation.Plan:
    settings = _settings(options, conversation.METHODS)
    if name == "drift":  # what the conversation itself achieves
        settings = [Setting("base"), *settings]
    pool = read_questions(options.data or DEFAULT_QUESTIONS)
    situations = conversation.situations(name, options.principles)
    return conversation.Plan(options.questions(), pool, situations, settings, seed=options.seed)


def _ifeval(options: Options) -> ifeval.Plan:
    if options.data is None:
        msg = "Expected --data with IFEval's single instructions, got none; see benchmarks/README.md."
        raise ConfigurationError(msg)
    instructions, skipped = ifeval.read_instructions(options.data, options.limit)
    return ifeval.Plan(instructions, skipped, _settings(options, ifeval.METHODS), options.seed)


def _capability(options: Options) -> capability.Plan:
    if options.limit is not None and options.limit < 1:
        msg = f"Expected a limit of at least 1, got {options.limit}; leave it out for all items."
        raise ConfigurationError(msg)
    settings = _settings(options, capability.METHODS)
    if any(setting.num_samples > 1 for setting in settings):
        msg = "Expected methods that have a likelihood, got best-of-n; leave it out."
        raise ConfigurationError(msg)
    principles = measured_named(options.principles or capability.PRINCIPLES)
    return capability.Plan(principles, settings, options.limit, options.seed)


_SWEPT = ("methods", "strengths", "budgets")


def _suite(
    module: ModuleType, plan: Callable[[Options], Any], takes: Sequence[str], data: Path = DEFAULT_QUESTIONS
) -> Suite:
    assert module.__file__
    return Suite(plan, module.measure, module.report, takes, data, Path(module.__file__))


RESEARCH = {
    "ifeval": _suite(ifeval, _ifeval, ("data", *_SWEPT)),
    "conversation": _suite(conversation, partial(_conversation, "conversation"), ("data", *_SWEPT, "principles")),
    "drift": _suite(conversation, partial(_conversation, "drift"), ("data", *_SWEPT, "principles")),
    "capability": _suite(capability, _capability, (*_SWEPT, "principles"), capability.DATA),
    "conflict": _suite(conflict, _conflict, ("data", *_SWEPT)),
    "wordings": _suite(wordings, _wordings, ("data", "principles")),
}
