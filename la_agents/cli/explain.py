"""`la-agents explain`: an answer whose every token shows how far alignment moved it, in the terminal or as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from la_agents.cli import answering
from la_agents.cli.decoding import Decoding, answers
from la_agents.cli.options import JsonOption, QuestionArgument, Settings, UserOption
from la_agents.cli.terminal import clean, console, note, print_json, spinner
from la_agents.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.style import Style
    from rich.table import Table
    from rich.text import Text

    from la_agents.report.report import AlignmentReport
    from la_agents.report.values import TokenReport

__all__ = ["explain"]

_NUM_MOST_MOVED = 8


@answers
def explain(
    ctx: typer.Context,
    *,
    question: QuestionArgument,
    user: UserOption,
    out: Annotated[
        Path | None, typer.Option("--out", dir_okay=False, help="Write a page (HTML) for a browser.")
    ] = None,
    decoding: Decoding,
    as_json: JsonOption = False,
    settings: Settings,
) -> None:
    """Answer one question, and show token by token what alignment did to the answer."""
    from la_agents.report.report import AlignmentReport

    if out is not None and not out.parent.is_dir():  # told before the work
        msg = f"Expected --out in a folder that exists, got {out}."
        raise ConfigurationError(msg)
    with settings.open_store() as store:
        llm = answering.chat_model(answering.load(settings), store, decoding)
        with spinner("Answering"):
            message = llm.invoke(question, config=answering.as_user(user), explain=True)
    report = AlignmentReport.from_message(message)
    if out is not None:
        out.write_text(report.to_html(question=question), encoding="utf-8")
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
    """The tokens that alignment moved most, with what was likely there before and after."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Moved most", title_justify="left")
    for name in ("token", "moved, nats", "reference", "aligned"):
        table.add_column(name, overflow="fold")
    for token in sorted(report.explained_tokens(), key=lambda token: -abs(token.moved))[:_NUM_MOST_MOVED]:
        before = sorted(token.candidates, key=lambda each: -each.reference)[:3]
        table.add_row(
            Text(_quoted(token.label)),
            f"{token.moved:+.2f}",
            Text(", ".join(f"{_quoted(each.text)} {each.reference:.0%}" for each in before)),
            Text(
                ", ".join(f"{_quoted(each.text)} {each.aligned:.0%}" for each in token.candidates[:3] if each.aligned)
            ),
        )
    return table


def _quoted(text: str) -> str:
    """One token on one line, with its spaces in sight."""
    return f"'{clean(text).translate({10: '↵', 9: '⇥'})}'"
