"""`la-agents calibrate`: the strength, placement and wording with which a model follows each principle best."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from la_agents.cli import measuring
from la_agents.cli.measuring import Chosen
from la_agents.cli.options import JsonOption, ModelSettings, Options, command
from la_agents.cli.terminal import note, print_json

__all__ = ["calibrate"]


@command
def calibrate(
    settings: ModelSettings,
    chosen: Annotated[Chosen, Options.of(Chosen, but=("methods", "budget", "limit"))],
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", help="How many questions; fewer than 8 are too few to rely on.")
    ] = 8,
    rate: Annotated[
        float, typer.Option("--rate", help="Adherence (0 to 1) that a doubling of perplexity has to gain.")
    ] = 0.08,
    as_json: JsonOption = False,
) -> None:
    """Find the best settings for your model. Writes calibration.json for the chat model."""
    from la_agents.evaluation import calibration

    done = measuring.run(settings, calibration.calibration_suite(rate), chosen, limit)
    found = calibration.calibrate(done.rows, done.header["provenance"]["model"]["name"], rate)
    file = done.files[0].with_name("calibration.json")
    found.calibration.write(file)
    if as_json:
        print_json({**asdict(found), "calibration": found.calibration.as_json()})
    else:
        measuring.show(done)
    for warning in found.warnings:
        note(f"Warning: {warning}")
    note(f"Wrote {file}\nUse it: ChatLinearAlignment(model=..., calibration={str(file)!r})")
