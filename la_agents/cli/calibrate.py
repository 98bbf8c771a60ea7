"""`la-agents calibrate`: which strength and which divergence budget suit a model."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from la_agents.cli import measuring
from la_agents.cli.measuring import (
    OUT,
    BudgetsOption,
    DataOption,
    LimitOption,
    OutOption,
    PrinciplesOption,
    RepeatableSeedOption,
    StrengthsOption,
)
from la_agents.cli.options import JsonOption, ModelOption, settings_of
from la_agents.cli.terminal import print_json

__all__ = ["calibrate"]

RateOption = Annotated[
    float, typer.Option("--rate", help="Adherence, of 1, that a doubling of perplexity has to gain.")
]


def calibrate(
    ctx: typer.Context,
    model: ModelOption = None,
    data: DataOption = None,
    strength: StrengthsOption = None,
    budget: BudgetsOption = None,
    principles: PrinciplesOption = None,
    limit: LimitOption = 8,
    rate: RateOption = 0.1,
    seed: RepeatableSeedOption = 0,
    out: OutOption = OUT,
    as_json: JsonOption = False,
) -> None:
    """Try strengths and divergence budgets on your model, and recommend one of each."""
    from la_agents.evaluation.calibration import check_rate, recommend
    from la_agents.evaluation.reports import calibration_report
    from la_agents.evaluation.suites import SUITES, Options, Suite

    check_rate(rate)
    options = Options(
        data=data,
        strengths=measuring.numbers(strength),
        budgets=measuring.numbers(budget),
        principles=measuring.names(principles),
        limit=limit,
        seed=seed,
    )
    usual = SUITES["calibration"]
    suite = Suite(usual.plan, usual.measure, partial(calibration_report, rate=rate))
    done = measuring.run(settings_of(ctx, model=model), "calibration", out, options, suite)
    if as_json:
        print_json(asdict(recommend(done.rows, rate)))
    else:
        measuring.show(done)
