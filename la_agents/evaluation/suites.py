"""Suites from end to end: the data in; rows, a page of tables and a picture out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from la_agents.errors import ConfigurationError
from la_agents.evaluation import calibration, choice_suites, reports, steerability
from la_agents.evaluation.adherence import measured_named
from la_agents.evaluation.choice_suites import READERS
from la_agents.evaluation.methods import POLICIES, methods_named
from la_agents.evaluation.provenance import Provenance, checksum
from la_agents.evaluation.questions import DEFAULT_QUESTIONS, OpenQuestion, read_questions
from la_agents.evaluation.runs import Report, Row, Run
from la_agents.evaluation.unaligned import BASE

if TYPE_CHECKING:
    from la_agents.evaluation.subject import Subject

__all__ = ["SUITES", "Finished", "Options", "Suite", "check", "run_suite"]


_EXTRA = ("matplotlib", "py3langid", "scipy", "vaderSentiment")
"""Needed at the very end of a run, or in the middle of it: looked for at its beginning."""


_CHOICES = ("data", "methods", "strengths", "budgets", "principles")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be chosen about a suite; an empty choice is the suite's own.

    Attributes:
        data: The questions' file; the library's own list by default. Choices come from the user's file alone.
        limit: The first so many questions; of choices the first of every topic in turn.
    """

    data: Path | None = None
    methods: Sequence[str] = ()
    strengths: Sequence[float] = ()
    budgets: Sequence[float] = ()
    principles: Sequence[str] = ()
    limit: int | None = None
    seed: int = 0

    def questions(self) -> list[OpenQuestion]:
        """The open questions to ask."""
        return read_questions(self.data or DEFAULT_QUESTIONS, self.limit)


@dataclass(frozen=True)
class Suite:
    """A measurement: what options make of it, how its rows come about, and what is shown of them.

    Attributes:
        takes: The options it honours beside `limit` and `seed`; any other one is refused.
        data: What is asked where the options name no data.
        source: Its code, where that is not the library's: rows of another version are not continued.
    """

    plan: Callable[[Options], Any]
    measure: Callable[[Run, Subject, Any, Report | None], list[Row]]
    report: Callable[[Path, Row, Sequence[Row]], list[Path]]
    takes: Sequence[str] = _CHOICES
    data: Path = DEFAULT_QUESTIONS
    source: Path | None = None


@dataclass(frozen=True)
class Finished:
    """A suite that is done: its rows, and the files that hold them and what they show."""

    rows: Sequence[Row]
    files: Sequence[Path]


def check(name: str, options: Options, suite: Suite | None = None) -> None:
    """Raise what `run_suite` would raise about the options or what is installed, before a model is loaded."""
    missing = [package for package in _EXTRA if find_spec(package) is None]
    if missing:
        msg = f"Expected {', '.join(missing)} to be installed; run `pip install 'la-agents[evaluation]'`."
        raise ConfigurationError(msg)
    chosen = suite or SUITES[name]
    unused = [option for option in _CHOICES if getattr(options, option) and option not in chosen.takes]
    if unused:
        msg = f"Expected options that {name} has ({', '.join(chosen.takes)}), got {', '.join(unused)}."
        raise ConfigurationError(msg)
    chosen.plan(options)


def run_suite(
    name: str, subject: Subject, out: Path, options: Options, report: Report | None = None, suite: Suite | None = None
) -> Finished:
    """Run a suite, or take it up where it was interrupted.

    Args:
        out: Folder for `<name>.jsonl`, `<name>.md` and `<name>.png`.
        suite: Another one than that of the name.

    Raises:
        ConfigurationError: an option names nothing, the data cannot be read, or `out` holds other results.
    """
    check(name, options, suite)
    chosen = suite or SUITES[name]
    plan = chosen.plan(options)
    provenance = Provenance(
        suite=name,
        model=subject.facts,
        seed=options.seed,
        data=checksum(options.data or chosen.data),
        settings={**plan.as_settings(), **({"source": checksum(chosen.source)} if chosen.source else {})},
    )
    with Run(out, provenance) as run:
        rows = chosen.measure(run, subject, plan, report)
        return Finished(rows, [run.path, *chosen.report(out, provenance.header(), rows)])


def _steerability(options: Options) -> steerability.Plan:
    settings = steerability.settings_of(
        options.methods or steerability.METHODS,
        options.strengths or steerability.STRENGTHS,
        options.budgets or steerability.BUDGETS,
    )
    return steerability.Plan(options.questions(), measured_named(options.principles), settings, options.seed)


def _calibration(options: Options) -> steerability.Plan:
    settings = calibration.candidates(options.strengths)
    return steerability.Plan(options.questions(), measured_named(options.principles), settings, options.seed)


def _choices(name: str, options: Options) -> choice_suites.Plan:
    if options.data is None:
        msg = f"Expected --data with the file or folder of {name}, got none; the documentation says where to get it."
        raise ConfigurationError(msg)
    names = options.methods or POLICIES
    if refused := [method.name for method in methods_named(names) if not method.is_policy]:
        msg = f"Expected methods that texts can be scored under ({', '.join(POLICIES)}), got {', '.join(refused)}."
        raise ConfigurationError(msg)
    settings = steerability.settings_of(
        names,
        options.strengths or steerability.STRENGTHS,
        options.budgets or steerability.BUDGETS,
    )
    if any(setting.calibrated for setting in settings):
        msg = f"Expected methods with one policy for all principles for {name}, got calibrated; leave it out."
        raise ConfigurationError(msg)
    found = choice_suites.first_of_each(choice_suites.READERS[name](options.data, options.seed), options.limit)
    return choice_suites.Plan(found, [BASE, *settings], options.seed)


SUITES = {
    "steerability": Suite(_steerability, steerability.measure, reports.steerability_report),
    "calibration": Suite(_calibration, steerability.measure, reports.calibration_report),
    **{name: Suite(partial(_choices, name), choice_suites.measure, choice_suites.report) for name in READERS},
}
