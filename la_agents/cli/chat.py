"""`la-agents chat`: a conversation that streams, remembers its turns, and is aligned with one user."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from la_agents.cli import answering
from la_agents.cli.decoding import Decoding, answers
from la_agents.cli.options import Settings, UserOption
from la_agents.cli.terminal import is_text, note
from la_agents.errors import LaAgentsError

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from la_agents.chat_models import ChatLinearAlignment

__all__ = ["chat"]


@answers
def chat(ctx: typer.Context, *, user: UserOption, decoding: Decoding, settings: Settings) -> None:
    """Talk with the model, aligned with what the user prefers. /new starts over; /quit or Ctrl-D leaves."""
    preferences = ctx.with_resource(settings.open_store())
    llm = answering.chat_model(answering.load(settings), preferences, decoding)
    history: list[BaseMessage] = []
    for line in _lines():
        if line == "/new":
            history.clear()
        else:
            history.extend(_turn(llm, history, line, user))


def _lines() -> Iterator[str]:
    """What the user types, blank lines and what is no text left out, until /quit or the end of input."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # a line with other bytes is refused, those after it are read
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            return
        if line in ("/quit", "/exit"):
            return
        if not is_text(line):
            note(f"Error: Expected a line in {sys.stdin.encoding}, got other bytes; it was left out.")
        elif line:
            yield line


def _turn(llm: ChatLinearAlignment, history: list[BaseMessage], line: str, user: str) -> list[BaseMessage]:
    """Answer one line and return the turn; one that fails or is interrupted is left out of the history."""
    from langchain_core.messages import AIMessage, HumanMessage

    question = HumanMessage(line)
    try:
        reply = answering.stream(llm, [*history, question], user)
    except LaAgentsError as error:
        note(f"Error: {' '.join(str(error).split())}  (/new starts over)")
        return []
    except KeyboardInterrupt:
        note("\nInterrupted.")
        return []
    note(answering.summary(reply.response_metadata["alignment"]))
    return [question, AIMessage(reply.text)]
