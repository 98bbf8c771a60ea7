"""`la-agents explain`: an answer whose every token shows how far alignment moved it, in the terminal or as a page."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from la_agents.cli import answering, comparison
from la_agents.cli.options import (
    AllSettings,
    DecodingOptions,
    ForceOption,
    JsonOption,
    QuestionArgument,
    UserOption,
    command,
)
from la_agents.cli.terminal import answer, check_new, clean, console, note, print_json, spinner, text_of

if TYPE_CHECKING:
    from rich.style import Style
    from rich.table import Table
    from rich.text import Text

    from la_agents.report.report import AlignmentReport
    from la_agents.report.values import TokenReport

__all__ = ["explain"]

_NUM_MOST_MOVED = 8


@command
def explain(
    question: QuestionArgument,
    user: UserOption,
    decoding: DecodingOptions,
    settings: AllSettings,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write a page for a browser; - is standard output.",
            show_default="none",
        ),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Answer one question, and show what alignment changed. Word by word."""
    from la_agents.report.report import AlignmentReport

    if out is not None:
        check_new(out, "--out", force=force)  # refused before any work
    question = text_of(question)
    with settings.open_store(reading=True) as store:
        loaded = answering.load(settings, decoding)
        llm = answering.chat_model(loaded, store, decoding)
        unaligned = answering.chat_model(loaded, None, replace(decoding, strength=None, max_divergence=None))
        settings.note_missing()
        with spinner("Answering"):
            message = llm.invoke(question, config=answering.as_user(user), explain=True)
            before = comparison.cut(unaligned.invoke(question)) if out is not None else None
    report = AlignmentReport.from_message(message)
    if out is not None:
        name = message.response_metadata["model_name"]
        page = report.to_html(question=question, unaligned=before, model=name, date=datetime.now())
        if str(out) == "-":
            answer(page)
            return
        out.write_text(page, encoding="utf-8")
    if as_json:
        print_json(answering.as_object(message, user))
    else:
        console().print(_shaded(report))
        console().print(_most_moved(report))
        note(answering.summary(report.to_dict()))
    if out is not None:
        note(f"The page is in {out}.")


def _shaded(report: AlignmentReport) -> Text:
    """The answer, the deeper shaded the further alignment moved a token; what it changed is underlined."""
    from rich.text import Text

    from la_agents.report.page import spans

    tokens = report.explained_tokens()
    text = Text()
    for piece, members in spans(tokens):
        text.append(clean(piece), style=_style([tokens[place] for place in members]))
    return text


def _style(tokens: list[TokenReport]) -> Style:
    from rich.color import Color
    from rich.style import Style

    from la_agents.report.page import LEVELS, level

    deepest = max(level(token.moved) for token in tokens)
    changed = any(token.id != token.reference_id for token in tokens) or None
    if not deepest:
        return Style(underline=changed)
    # Black on yellow to orange reads on light and dark terminals alike.
    background = Color.from_rgb(255, 240 - 140 * deepest / len(LEVELS), 200 - 200 * deepest / len(LEVELS))
    return Style(color="black", bgcolor=background, underline=changed)


def _most_moved(report: AlignmentReport) -> Table:
    """The tokens that alignment moved most, and what would stand there without it."""
    from rich.table import Table
    from rich.text import Text

    from la_agents.report.page import most_moved, percent

    table = Table(title="Changed most", title_justify="left")
    for name in ("word", "chance, without → with", "without"):
        table.add_column(name, overflow="fold")
    for token in most_moved(report.explained_tokens(), _NUM_MOST_MOVED):
        chance = f"{percent(token.chosen.reference)} → {percent(token.chosen.aligned)}"
        table.add_row(Text(_quoted(token.label)), chance, Text(_quoted(token.reference)))
    return table


def _quoted(text: str) -> str:
    """One token on one line, with its spaces in sight."""
    return f"'{clean(text).translate({10: '↵', 9: '⇥'})}'"
