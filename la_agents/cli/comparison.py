"""One question answered three ways, side by side: unaligned, prompted, aligned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from la_agents.cli import answering
from la_agents.cli.options import Decoding, Settings
from la_agents.cli.terminal import answer, clean, console, print_json, spinner

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from la_agents import PreferenceStore
    from la_agents.models import LoadedModel

__all__ = ["Comparison", "ask", "compare", "cut", "show"]

_WIDE = 60
"""Columns of a terminal that three answers side by side need."""


@dataclass(frozen=True)
class Comparison:
    """One question, one user, three answers."""

    user: str
    unaligned: AIMessage
    prompted: AIMessage
    aligned: AIMessage


def ask(settings: Settings, decoding: Decoding, question: str, user: str, *, as_json: bool) -> None:
    """Answer a question three ways: a table, or the aligned answer's JSON object with the others in it."""
    with settings.open_store(reading=True) as store:
        loaded = answering.load(settings, decoding)
        settings.note_missing()
        with spinner("Answering three ways"):
            compared = compare(loaded, store, decoding, question, user)
    if as_json:
        others = {"unaligned": compared.unaligned.text, "prompted": compared.prompted.text}
        print_json({**answering.as_object(compared.aligned, user), "compare": others})
    else:
        show(compared)


def compare(loaded: LoadedModel, store: PreferenceStore, decoding: Decoding, question: str, user: str) -> Comparison:
    """Answer unaligned, prompted and aligned: three requests that the engine runs together."""
    from langchain_core.runnables import RunnableParallel

    plain = replace(decoding, strength=None, max_divergence=None)
    aligned = answering.chat_model(loaded, store, decoding)
    ways = RunnableParallel(
        unaligned=answering.chat_model(loaded, None, plain),
        prompted=answering.chat_model(loaded, store, replace(plain, strength=0.0)),
        aligned=aligned,
    )
    answers = ways.invoke(question, config=answering.as_user(user))
    answers["aligned"] = answering.with_texts(answers["aligned"], aligned, question, user)
    return Comparison(user, **answers)


def show(compared: Comparison) -> None:
    """Print the three answers side by side, what they were aligned with and how far that moved them."""
    from rich.table import Table
    from rich.text import Text

    messages = {"unaligned": compared.unaligned, "prompted": compared.prompted, "aligned": compared.aligned}
    if console().width < _WIDE:
        answer(_title(compared))
        for name, message in messages.items():
            answer(f"\n{name}: {cut(message)}\n({_effect(message)})")
        return
    table = Table(title=Text(clean(_title(compared))), title_justify="left", expand=True, show_lines=True)
    for name in messages:
        table.add_column(name, ratio=1, overflow="fold")
    table.add_row(*(Text(cut(message)) for message in messages.values()))
    table.add_row(*(Text(_effect(message), style="dim") for message in messages.values()))
    console().print(table)


def cut(message: AIMessage) -> str:
    """The text, with an ellipsis where it was cut off."""
    ended = message.response_metadata["finish_reason"] not in ("length", "repetition")
    return clean(message.text.strip()) + ("" if ended else " …")


def _title(compared: Comparison) -> str:
    texts = "; ".join(p["text"] for p in compared.aligned.response_metadata["alignment"]["principles"])
    return f"{compared.user} prefers: {texts or 'nothing that matters here'}"


def _effect(message: AIMessage) -> str:
    report = message.response_metadata["alignment"]
    return answering.effect(report) if report["principles"] else "unaligned"
