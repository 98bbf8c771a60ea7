"""`la-agents evaluate`: how well the memory does what it says, measured on data of your choice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from la_agents.cli.options import JsonOption
from la_agents.cli.terminal import answer, print_json

__all__ = ["app"]

app = typer.Typer(help="Measure how well the memory does its work.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def consolidation(
    pairs: Annotated[Path, typer.Argument(help="JSON Lines with old, new, label and split.", dir_okay=False)],
    as_json: JsonOption = False,
) -> None:
    """How often what is said again, restated or contradicted is recognised, and what is independent left alone."""
    from la_agents.evaluation.consolidation import judge_pairs, read_pairs
    from la_agents.preferences.consolidation import RuleConsolidator
    from la_agents.preferences.embeddings import BundledEmbeddings

    read = read_pairs(pairs)
    reports = {}
    for split in dict.fromkeys(pair.split for pair in read):
        own = [pair for pair in read if pair.split == split]
        reports[split] = judge_pairs(own, RuleConsolidator(), BundledEmbeddings()).report()
    if as_json:
        print_json(reports)
        return
    for split, report in reports.items():
        answer(split)
        for name, value in report.items():
            answer(f"  {name:<24} {value:g}" if isinstance(value, int) else f"  {name:<24} {value:.3f}")
