"""A suite: from options and data to rows, a page of tables and a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from la_agents.errors import ConfigurationError
from la_agents.evaluation.methods import Setting, settings_of
from la_agents.evaluation.plots import Panel, save_panels
from la_agents.evaluation.provenance import checksum, describe_model, provenance, provenance_line
from la_agents.evaluation.questions import DEFAULT_QUESTIONS, OpenQuestion, read_questions
from la_agents.evaluation.runs import Report, Row, Run

if TYPE_CHECKING:
    from la_agents.evaluation.subject import Subject

__all__ = ["Finished", "Options", "Plan", "Suite", "prepare", "run_suite"]

_EXTRA = ("matplotlib", "py3langid", "scipy", "vaderSentiment")
"""Needed in the middle or at the end of a run; checked at its beginning."""
_CHOICES = ("data", "methods", "strengths", "budgets", "principles")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be chosen about a suite; where nothing is given, the suite decides.

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

    def settings(self, methods: Sequence[str], strengths: Sequence[float]) -> list[Setting]:
        """The settings to compare with the unaligned model: those given, else the suite's own.

        Raises:
            ConfigurationError: there is no method of one of the names, or a strength or budget is out of range.
        """
        return settings_of(self.methods or methods, self.strengths or strengths, self.budgets or (0.3,))


@dataclass(frozen=True)
class Plan:
    """What a suite will measure.

    Attributes:
        facts: What the numbers depend on besides the data, for the provenance.
        measure: Measures what is missing of a run, and returns its rows in order.
    """

    facts: Mapping[str, Any]
    measure: Callable[[Run, Subject, Report | None], list[Row]]


@dataclass(frozen=True)
class Suite:
    """A measurement by name.

    Attributes:
        report: Tables and panels, from the header and the rows of a run.
        takes: The options that it uses besides `limit` and `seed`; others are refused.
        data: What is asked where the options name no data.
        source: Its code, if that is not part of the library: rows of other code are not continued.
    """

    name: str
    plan: Callable[[Options], Plan]
    report: Callable[[Row, Sequence[Row]], tuple[Sequence[str], Sequence[Panel]]]
    takes: Sequence[str] = _CHOICES
    data: Path = DEFAULT_QUESTIONS
    source: Path | None = None


@dataclass(frozen=True)
class Finished:
    """A finished suite: its header, its rows, and the files that were written."""

    header: Row
    rows: Sequence[Row]
    files: Sequence[Path]


def prepare(suite: Suite, options: Options) -> Plan:
    """Plan what is to be measured, and refuse what cannot be.

    Raises:
        ConfigurationError: something is not installed, an option names nothing, or the data cannot be read.
    """
    missing = [package for package in _EXTRA if find_spec(package) is None]
    if missing:
        msg = f"Expected {', '.join(missing)} to be installed; run `pip install 'la-agents[evaluation]'`."
        raise ConfigurationError(msg)
    unused = [option for option in _CHOICES if getattr(options, option) and option not in suite.takes]
    if unused:
        msg = f"Expected options that {suite.name} has ({', '.join(suite.takes)}), got {', '.join(unused)}."
        raise ConfigurationError(msg)
    return suite.plan(options)


def run_suite(suite: Suite, subject: Subject, out: Path, options: Options, report: Report | None = None) -> Finished:
    """Run a suite, or continue it where it was interrupted.

    Args:
        out: Folder for `<name>.jsonl`, `<name>.md` and `<name>.png`.

    Raises:
        ConfigurationError: as of `prepare`, or `out` holds other results.
    """
    plan, name = prepare(suite, options), suite.name
    header = provenance(
        suite=name,
        model=describe_model(subject.loaded),
        seed=options.seed,
        data=checksum(options.data or suite.data),
        settings={**plan.facts, **({"source": checksum(suite.source)} if suite.source else {})},
    )
    with Run(out, header) as run:
        rows = plan.measure(run, subject, report)
        parts, panels = suite.report(header, rows)
        page, picture = out / f"{name}.md", out / f"{name}.png"
        save_panels(picture, panels, provenance_line(header), columns=4)
        page.write_text("\n".join([f"# {name}\n", *parts, f"![{name}]({picture.name})", ""]), encoding="utf-8")
        return Finished(header, rows, [run.path, page, picture])
