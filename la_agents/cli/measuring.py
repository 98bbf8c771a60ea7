"""What the commands that measure a model have in common: their options, and a run with its progress."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from la_agents.cli import answering
from la_agents.cli.options import Options, Settings
from la_agents.cli.terminal import answer, console, counting_bar, note, print_table
from la_agents.errors import ConfigurationError

if TYPE_CHECKING:
    from la_agents.evaluation import suites

__all__ = ["Chosen", "ChosenOptions", "run", "show"]

_LIST = " Separate them by commas, or repeat the option."
_OWN = "the suite's own"


@dataclass(frozen=True)
class Chosen:
    """What is chosen about a suite, and where its results go. Each field is an option of the commands."""

    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="PATH", help="What to ask.", show_default=_OWN),
    ] = None
    strength: Annotated[
        list[str] | None,
        typer.Option("--strength", metavar="NUMBERS", help="Strengths to try: 0,0.5,1,2,3." + _LIST, show_default=_OWN),
    ] = None
    budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="NUMBERS",
            help="Budgets of divergence or fluency to try, in nats a token.",
            show_default="0.3",
        ),
    ] = None
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--methods", metavar="NAMES", help="What to compare: prompt,linear,amulet." + _LIST, show_default=_OWN
        ),
    ] = None
    principles: Annotated[
        list[str] | None,
        typer.Option(
            "--principles", metavar="NAMES", help="Which principles: french,dogs." + _LIST, show_default="all"
        ),
    ] = None
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="Only the first N of the data.", show_default="all")
    ] = None
    seed: Annotated[
        int | None, typer.Option("--seed", help="The same seed gives the same numbers.", show_default="0")
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for rows, tables and plots; an interrupted run there continues.",
            show_default="results",
        ),
    ] = None

    def options(self, limit: int | None = None) -> suites.Options:
        """As options of the library.

        Raises:
            ConfigurationError: a strength or a budget is no number.
        """
        from la_agents.evaluation.suites import Options

        return Options(
            data=self.data,
            methods=_names(self.methods),
            strengths=_numbers(self.strength),
            budgets=_numbers(self.budget),
            principles=_names(self.principles),
            limit=limit if self.limit is None else self.limit,
            seed=self.seed or 0,
        )


ChosenOptions = Annotated[Chosen, Options.of(Chosen)]


def _names(values: Sequence[str] | None) -> list[str]:
    return [part for value in values or () for part in value.replace(",", " ").split()]


def _numbers(values: Sequence[str] | None) -> list[float]:
    parts = _names(values)
    try:
        return [float(part) for part in parts]
    except ValueError as error:
        msg = f"Expected numbers such as 0,0.5,1, got {' '.join(parts)!r}."
        raise ConfigurationError(msg) from error


def run(settings: Settings, suite: suites.Suite, chosen: Chosen, limit: int | None = None) -> suites.Finished:
    """Run a suite on the chosen model, with a progress bar, and name the files it wrote.

    Args:
        limit: How many questions, for commands that have this option themselves.
    """
    from la_agents.evaluation.suites import prepare, run_suite

    options, out = chosen.options(limit), chosen.out or Path("results")
    prepare(suite, options)  # refuses what is wrong before the model is loaded
    from la_agents.evaluation.subject import Subject

    subject = Subject(answering.load(settings))
    try:
        with counting_bar(f"Measuring {suite.name}") as report:
            done = run_suite(suite, subject, out, options, report)
    except KeyboardInterrupt:
        note(f"Interrupted. What is finished is in {out}; the same command continues.")
        raise
    for file in done.files:
        note(f"Wrote {file}")
    return done


def show(done: suites.Finished) -> None:
    """Print the page of tables, without its picture: laid out on a terminal, else as it stands."""
    page = next(file for file in done.files if file.suffix == ".md").read_text(encoding="utf-8").strip()
    for is_table, block in groupby(page.splitlines(), key=lambda line: line.startswith("| ")):
        lines = [line for line in block if not line.startswith("![")]
        if is_table and console().is_terminal:
            header, _, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines)
            print_table(header, rows)
        else:
            answer("\n".join(lines))
