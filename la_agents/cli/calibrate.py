"""`la-agents calibrate`: with which strength, place and form of words a model follows each principle best."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from la_agents.cli import measuring
from la_agents.cli.measuring import (
    OUT,
    DataOption,
    LimitOption,
    OutOption,
    PrinciplesOption,
    RepeatableSeedOption,
    StrengthsOption,
)
from la_agents.cli.options import JsonOption, ModelOption, settings_of
from la_agents.cli.terminal import note, print_json

__all__ = ["calibrate"]

RateOption = Annotated[
    float, typer.Option("--rate", help="Adherence, of 1, that a doubling of perplexity has to gain.")
]


def calibrate(
    ctx: typer.Context,
    model: ModelOption = None,
    data: DataOption = None,
    strength: StrengthsOption = None,
    principles: PrinciplesOption = None,
    limit: LimitOption = 8,
    rate: RateOption = 0.08,
    seed: RepeatableSeedOption = 0,
    out: OutOption = OUT,
    as_json: JsonOption = False,
) -> None:
    """Find out how your model follows each principle best, and write it down for `calibration=`."""
    from la_agents.calibration import Calibration
    from la_agents.evaluation.calibration import calibrate as read
    from la_agents.evaluation.calibration import check_rate
    from la_agents.evaluation.reports import calibration_report
    from la_agents.evaluation.suites import SUITES, Options, Suite

    check_rate(rate)
    options = Options(
        data=data,
        strengths=measuring.numbers(strength),
        principles=measuring.names(principles),
        limit=limit,
        seed=seed,
    )
    usual = SUITES["calibration"]
    suite = Suite(usual.plan, usual.measure, partial(calibration_report, rate=rate))
    done = measuring.run(settings_of(ctx, model=model), "calibration", out, options, suite)
    if as_json:
        found = read(done.rows, Calibration.read(done.files[-1]).model, rate)
        print_json({**asdict(found), "calibration": found.calibration.as_json()})
    else:
        measuring.show(done)
        note(f"Use it: ChatLinearAlignment(model=..., calibration={str(done.files[-1])!r})")
