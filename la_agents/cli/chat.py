"""`la-agents chat`: a conversation that streams, remembers its turns, and is aligned with one user."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from la_agents.cli import answering
from la_agents.cli.memory import Owned, show
from la_agents.cli.messages import in_words_of_the_command_line
from la_agents.cli.options import AllSettings, Decoding, DecodingOptions, Settings, UserOption, command
from la_agents.cli.terminal import is_text, note
from la_agents.errors import LaAgentsError

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from la_agents import PreferenceStore

__all__ = ["chat"]

_HELP = """\
/prefs         what is stored about you
/strength [N]  how far beyond prompting to go; 0 is prompting alone, auto what suits the model
/new           start over
/quit          leave, as Ctrl-D does; Ctrl-C ends an answer"""


@command
def chat(user: UserOption, decoding: DecodingOptions, settings: AllSettings) -> None:
    """Talk with the model, aligned with what the user prefers. /help lists the commands."""
    with settings.open_store(reading=True) as store:
        conversation = _Conversation(settings, store, decoding, user)
        settings.note_missing()
        if sys.stdin.isatty():
            note(f"Talking as {user}; /help shows commands.")
        for line in _lines():
            try:
                conversation.take(line)
            except LaAgentsError as error:
                note(f"Error: {in_words_of_the_command_line(' '.join(str(error).split()))}  (/new starts over)")
            except KeyboardInterrupt:
                note("\nInterrupted.")


class _Conversation:
    """The turns so far; one that fails or is interrupted is left out."""

    def __init__(self, settings: Settings, store: PreferenceStore, decoding: Decoding, user: str) -> None:
        self._loaded = answering.load(settings, decoding)
        self._llm = answering.chat_model(self._loaded, store, decoding)
        self._memory = Owned(store, user, is_layer=False, settings=settings)
        self._decoding = decoding
        self._history: list[BaseMessage] = []

    def take(self, line: str) -> None:
        """Answer a line, or do what it commands."""
        name, _, argument = line.partition(" ")
        commands: dict[str, Callable[[], None]] = {
            "/help": lambda: note(_HELP),
            "/new": self._history.clear,
            "/prefs": lambda: show(self._memory),
            "/strength": lambda: self._set_strength(argument.strip()),
        }
        if not line.startswith("/"):
            self._answer(line)
        elif name in commands:
            commands[name]()
        else:
            note(f"Error: Expected one of {', '.join(commands)}, /quit, got {name}; begin with a space to say it.")

    def _answer(self, line: str) -> None:
        from langchain_core.messages import AIMessage, HumanMessage

        question = HumanMessage(line.strip())
        reply = answering.stream(self._llm, [*self._history, question], self._memory.name)
        self._history += [question, AIMessage(reply.text)]
        note(answering.summary(reply.response_metadata["alignment"]))

    def _set_strength(self, value: str) -> None:
        strength = self._decoding.strength
        if value:
            try:
                strength = None if value == "auto" else float(value)
            except ValueError:
                note(f"Error: Expected a number or auto, got {value!r}.")
                return
            decoding = replace(self._decoding, strength=strength)
            self._llm = answering.chat_model(self._loaded, self._memory.store, decoding)
            self._decoding = decoding
        note(f"Strength: {'auto' if strength is None else f'{strength:g}'}")


def _lines() -> Iterator[str]:
    """What the user types, blank lines and what is no text left out, until /quit or the end of input."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # a line with other bytes is refused, those after it are read
    ask = _reader()
    while True:
        try:
            line = ask()
        except EOFError:
            return
        except KeyboardInterrupt:  # what was typed is given up
            continue
        if line.strip() in ("/quit", "/exit"):
            return
        if not is_text(line):
            note(f"Error: Expected a line in {sys.stdin.encoding}, got other bytes; it was left out.")
        elif line.strip():
            yield line.rstrip()


def _reader() -> Callable[[], str]:
    """Asks for a line: with editing and the lines before on a terminal, plainly elsewhere."""
    if not sys.stdin.isatty():
        return input
    with suppress(ImportError):
        from prompt_toolkit import PromptSession

        if sys.stdout.isatty():
            session: PromptSession[str] = PromptSession("> ")
            return session.prompt
    with suppress(ImportError):
        import readline  # noqa: F401  # input() edits with it
    return lambda: input("> ")
