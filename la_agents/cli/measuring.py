"""What the commands that measure a model have in common: their options, and a run with its progress."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from la_agents.cli import answering
from la_agents.cli.options import Settings
from la_agents.cli.terminal import answer, counting_bar, note
from la_agents.errors import ConfigurationError

if TYPE_CHECKING:
    from la_agents.evaluation.suites import Finished, Options, Suite

__all__ = [
    "OUT",
    "BudgetsOption",
    "ChoicesOption",
    "DataOption",
    "LimitOption",
    "MethodsOption",
    "OutOption",
    "PrinciplesOption",
    "RepeatableSeedOption",
    "StrengthsOption",
    "names",
    "numbers",
    "options",
    "run",
    "show",
]

OUT = Path("results")

_LIST = " Separated by commas, or the option repeated."
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="FILE", help='A JSON list of {"index", "question"}. Default: a list of our own.'),
]
ChoicesOption = Annotated[
    Path, typer.Option("--data", metavar="PATH", help="The suite's file, or PrefEval's folder of topics.", exists=True)
]
StrengthsOption = Annotated[
    list[str] | None, typer.Option("--strength", metavar="NUMBERS", help="Strengths to try: 0,0.5,1,2,3." + _LIST)
]
BudgetsOption = Annotated[
    list[str] | None,
    typer.Option("--budget", metavar="NUMBERS", help="Budgets of divergence or fluency to try, nats a token: 0.3,1."),
]
MethodsOption = Annotated[
    list[str] | None, typer.Option("--methods", metavar="NAMES", help="What to compare: prompt,linear,amulet." + _LIST)
]
PrinciplesOption = Annotated[
    list[str] | None, typer.Option("--principles", metavar="NAMES", help="Of those that can be measured: french,dogs.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", metavar="N", help="Only the first N of the data.")]
RepeatableSeedOption = Annotated[int, typer.Option("--seed", help="The same seed gives the same numbers.")]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="For rows, tables and plots. An interrupted run there is taken up.")
]


def numbers(values: Sequence[str] | None) -> list[float]:
    """Numbers separated by commas or spaces, in one option or several.

    Raises:
        ConfigurationError: one is no number.
    """
    parts = names(values)
    try:
        return [float(part) for part in parts]
    except ValueError as error:
        msg = f"Expected numbers such as 0,0.5,1, got {' '.join(parts)!r}."
        raise ConfigurationError(msg) from error


def names(values: Sequence[str] | None) -> list[str]:
    """Names separated by commas or spaces, in one option or several."""
    return [part for value in values or () for part in value.replace(",", " ").split()]


def options(
    data: Path | None,
    methods: list[str] | None,
    strength: list[str] | None,
    budget: list[str] | None,
    principles: list[str] | None,
    limit: int | None,
    seed: int,
) -> Options:
    """The options of a suite, from those of a command.

    Raises:
        ConfigurationError: a strength or a budget is no number.
    """
    from la_agents.evaluation.suites import Options

    return Options(
        data=data,
        methods=names(methods),
        strengths=numbers(strength),
        budgets=numbers(budget),
        principles=names(principles),
        limit=limit,
        seed=seed,
    )


def run(settings: Settings, name: str, out: Path, options: Options, suite: Suite | None = None) -> Finished:
    """Run a suite on the chosen model, with a progress bar, and name the files it wrote."""
    from la_agents.evaluation.subject import Subject
    from la_agents.evaluation.suites import check, run_suite

    check(name, options, suite)  # before the model is loaded
    subject = Subject(answering.load(settings))
    try:
        with counting_bar(f"Measuring {name}") as report:
            done = run_suite(name, subject, out, options, report, suite)
    except KeyboardInterrupt:
        note(f"Interrupted. What is finished is in {out}; the same command takes it up again.")
        raise
    for file in done.files:
        note(f"Wrote {file}")
    return done


def show(done: Finished) -> None:
    """Print the page of tables, without its picture."""
    page = next(file for file in done.files if file.suffix == ".md")
    lines = page.read_text(encoding="utf-8").splitlines()
    answer("\n".join(line for line in lines if not line.startswith("![")).strip())
