"""`la-agents ask`: one question, one answer."""

from __future__ import annotations

from typing import Annotated

import typer

from la_agents.cli import answering, comparison
from la_agents.cli.options import AllSettings, DecodingOptions, JsonOption, QuestionArgument, UserOption, command
from la_agents.cli.terminal import text_of

__all__ = ["ask"]


@command
def ask(
    question: QuestionArgument,
    user: UserOption,
    decoding: DecodingOptions,
    settings: AllSettings,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show the unaligned and the prompted answer beside it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Answer one question, aligned with what the user prefers."""
    ask_one = comparison.ask if compare else answering.ask
    ask_one(settings, decoding, text_of(question), user, as_json=as_json)
