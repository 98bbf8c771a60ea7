"""`la-agents evaluate`: how well a model follows preferences, measured on data of your choice."""

from __future__ import annotations

import typer

from la_agents.cli import measuring
from la_agents.cli.measuring import (
    OUT,
    BudgetsOption,
    ChoicesOption,
    DataOption,
    LimitOption,
    MethodsOption,
    OutOption,
    PrinciplesOption,
    RepeatableSeedOption,
    StrengthsOption,
)
from la_agents.cli.options import ModelOption, settings_of

__all__ = ["app"]

app = typer.Typer(help="Measure how well preferences are followed.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def steerability(
    ctx: typer.Context,
    model: ModelOption = None,
    data: DataOption = None,
    strength: StrengthsOption = None,
    budget: BudgetsOption = None,
    methods: MethodsOption = None,
    principles: PrinciplesOption = None,
    limit: LimitOption = None,
    seed: RepeatableSeedOption = 0,
    out: OutOption = OUT,
) -> None:
    """How far answers to open questions follow principles that need no judge, and what that costs."""
    options = measuring.options(data, methods, strength, budget, principles, limit, seed)
    measuring.show(measuring.run(settings_of(ctx, model=model), "steerability", out, options))


def _add_choices(name: str, summary: str) -> None:
    """A command for a suite of choices."""

    @app.command(name, help=summary)
    def choices(
        ctx: typer.Context,
        data: ChoicesOption,
        model: ModelOption = None,
        strength: StrengthsOption = None,
        budget: BudgetsOption = None,
        methods: MethodsOption = None,
        limit: LimitOption = None,
        seed: RepeatableSeedOption = 0,
        out: OutOption = OUT,
    ) -> None:
        options = measuring.options(data, methods, strength, budget, None, limit, seed)
        measuring.show(measuring.run(settings_of(ctx, model=model), name, out, options))


_add_choices(
    "prefeval-mcq", "PrefEval's classification task: is the answer that follows the preference chosen among four?"
)
_add_choices("personal-preference", "Four people ask one question: is the answer meant for each chosen?")
