"""`la-agents evaluate`: are preferences followed, and are they found? Measured on data of your choice."""

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

app = typer.Typer(
    help="Measure how well preferences are followed and found.", no_args_is_help=True, rich_markup_mode=None
)


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
    from la_agents.evaluation.suites import Options

    options = Options(
        data=data,
        methods=measuring.names(methods),
        strengths=measuring.numbers(strength),
        budgets=measuring.numbers(budget),
        principles=measuring.names(principles),
        limit=limit,
        seed=seed,
    )
    measuring.show(measuring.run(settings_of(ctx, model=model), "steerability", out, options))


@app.command("prefeval-mcq")
def prefeval_mcq(
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
    """PrefEval's classification task: is the answer that follows the preference chosen among four?"""
    options = measuring.choice_options(data, methods, strength, budget, limit, seed)
    measuring.show(measuring.run(settings_of(ctx, model=model), "prefeval-mcq", out, options))


@app.command("personal-preference")
def personal_preference(
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
    """Four people ask one question: is the answer meant for each chosen?"""
    options = measuring.choice_options(data, methods, strength, budget, limit, seed)
    measuring.show(measuring.run(settings_of(ctx, model=model), "personal-preference", out, options))
