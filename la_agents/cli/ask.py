"""`la-agents ask`: one question, one answer."""

from __future__ import annotations

from typing import Annotated

import typer

from la_agents.cli import answering, comparison
from la_agents.cli.options import (
    JsonOption,
    MaxDivergenceOption,
    MaxTokensOption,
    ModelOption,
    SeedOption,
    StoreOption,
    StrengthOption,
    TemperatureOption,
    UserOption,
    settings_of,
)

__all__ = ["ask"]


def ask(
    ctx: typer.Context,
    question: Annotated[str, typer.Argument(help="What to ask.")],
    user: UserOption,
    strength: StrengthOption = None,
    max_divergence: MaxDivergenceOption = None,
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
    compare: Annotated[bool, typer.Option("--compare", help="Beside it: unaligned and prompted.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
    model: ModelOption = None,
) -> None:
    """Answer one question, aligned with what the user prefers."""
    decoding = answering.Decoding(strength, max_divergence, max_tokens, temperature, seed)
    settings = settings_of(ctx, store, model)
    ask_one = comparison.ask if compare else answering.ask
    ask_one(settings, decoding, question, user, as_json=as_json)
