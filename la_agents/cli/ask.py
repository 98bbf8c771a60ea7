"""`la-agents ask`: one question, one answer."""

from __future__ import annotations

from typing import Annotated

import typer

from la_agents.cli import answering, comparison
from la_agents.cli.decoding import Decoding, answers
from la_agents.cli.options import JsonOption, QuestionArgument, Settings, UserOption

__all__ = ["ask"]


@answers
def ask(
    ctx: typer.Context,
    *,
    question: QuestionArgument,
    user: UserOption,
    decoding: Decoding,
    compare: Annotated[bool, typer.Option("--compare", help="Beside it: unaligned and prompted.")] = False,
    as_json: JsonOption = False,
    settings: Settings,
) -> None:
    """Answer one question, aligned with what the user prefers."""
    ask_one = comparison.ask if compare else answering.ask
    ask_one(settings, decoding, question, user, as_json=as_json)
