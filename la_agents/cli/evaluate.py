"""`la-agents evaluate`: how well a model follows preferences, measured on data of your choice."""

from __future__ import annotations

from functools import partial

import typer

from la_agents.cli import measuring
from la_agents.cli.measuring import Chosen
from la_agents.cli.options import ModelSettings, Options, command

__all__ = ["app"]

app = typer.Typer(help="Measure how well preferences are followed.", no_args_is_help=True, rich_markup_mode=None)


def _evaluate(name: str, settings: ModelSettings, chosen: Chosen) -> None:
    from la_agents.evaluation.choosing import CHOICES
    from la_agents.evaluation.steerability import STEERABILITY

    suites = {STEERABILITY.name: STEERABILITY, **CHOICES}
    measuring.show(measuring.run(settings, suites[name], chosen))


def _add(name: str, summary: str, *but: str) -> None:
    app.command(name, help=summary)(command(partial(_evaluate, name), chosen=Options.of(Chosen, but=but)))


_add("steerability", "How well answers follow principles, and at what cost. Scored without a judge.")
_add("prefeval-mcq", "PrefEval's task: choose the fitting answer of four.", "principles")
_add("personal-preference", "Choose each person's answer to one question.", "principles")
