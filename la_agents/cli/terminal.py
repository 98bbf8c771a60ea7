"""What the terminal shows: answers and tables on standard output, notes and progress on standard error."""

from __future__ import annotations

import io
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from la_agents.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

    from la_agents.progress import Progress as Report

__all__ = [
    "WordWrap",
    "answer",
    "check_new",
    "clean",
    "console",
    "conversion_bar",
    "counting_bar",
    "is_text",
    "note",
    "print_anything",
    "print_json",
    "print_table",
    "spinner",
    "text_of",
]

_LONG_WORD = 24
"""Columns of a table within which a word may be broken."""


def print_anything() -> None:
    """Let both streams write what their encoding lacks as an escape such as `\\U0001f600`, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_text(text: str) -> bool:
    """Whether it holds no surrogate, as which Python reads the bytes that are not in the terminal's encoding."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def answer(text: str, *, end: str = "\n") -> None:
    """Print a part of the answer, and flush."""
    print(clean(text), end=end, flush=True)


def note(text: str) -> None:
    """Print a line beside the answer."""
    print(clean(text), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print one JSON object or array on one line, in ASCII where the stream cannot hold every character."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    print(json.dumps(value, ensure_ascii=not is_unicode, default=str), flush=True)


def clean(text: str) -> str:
    """Replace control characters, by which stored or generated text could control the terminal."""
    return "".join("\ufffd" if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in text)


def console(*, stderr: bool = False) -> Console:
    """A rich console on the present standard output or error."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows with whole words, and whole ids to be copied; as lists where a table has no room for them."""
    from rich.table import Table
    from rich.text import Text

    def least_width(name: str, column: Sequence[str]) -> int:
        if name in ("id", "by"):
            return max(map(_num_cells, column))
        longest = max((_num_cells(word) for cell in column for word in cell.split()), default=0)
        return min(longest, _LONG_WORD)

    columns = dict(zip(header, zip(header, *rows, strict=True), strict=True))
    least = [least_width(*each) for each in columns.items()]
    room = console().width - sum(least) - 2 * (len(least) - 1)
    if room < 0:
        for row in rows:
            answer("\n".join(f"{name}: {cell}" for name, cell in zip(header, row, strict=True) if cell) + "\n")
        return
    more = [max(map(_num_cells, column)) - width for column, width in zip(columns.values(), least, strict=True)]
    table = Table(*header, box=None, pad_edge=False)
    for column, width, wanted in zip(table.columns, least, more, strict=True):
        column.overflow, column.width = "fold", width + int(wanted * min(1.0, room / max(1, sum(more))))
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    console().print(table)


class WordWrap:
    """Breaks a text that comes in pieces between words, so that no word is broken by the end of a line.

    A word is held back until it ends or fills a line of its own; what then follows of it goes on where that ends.
    """

    def __init__(self, width: int) -> None:
        self._width, self._column = width, 0
        self._space, self._word = "", ""
        self._is_long = False

    def push(self, text: str) -> str:
        """What can be shown so far."""
        shown = ""
        for part in re.findall(r"\n|[^\S\n]+|\S", text):
            if not part.isspace():
                self._word += part
                if self._is_long or _num_cells(self._word) >= self._width:
                    shown, self._is_long = shown + self._placed(), True
                continue
            shown, self._is_long = shown + self._placed(), False
            if part == "\n":
                shown, self._space, self._column = shown + part, "", 0
            else:
                self._space += part
        return shown

    def end(self) -> str:
        """What was held back."""
        return self._placed()

    def _placed(self) -> str:
        if not self._word:
            return ""
        room = self._width - self._column - _num_cells(self._space + self._word)
        before = "\n" if self._column and room < 0 and not self._is_long else self._space
        self._column = _num_cells(self._word) + (0 if before == "\n" else self._column + _num_cells(before))
        placed, self._word, self._space = before + self._word, "", ""
        return placed


def _num_cells(text: str) -> int:
    """Columns that a text takes on the terminal."""
    from rich.cells import cell_len

    return cell_len(text)


def text_of(argument: str) -> str:
    """The argument, or what standard input holds where it is a dash.

    Raises:
        ConfigurationError: it holds nothing.
    """
    if argument != "-":
        return argument
    text = sys.stdin.read().strip()
    if not text:
        msg = "Expected a text on standard input, got none."
        raise ConfigurationError(msg)
    return text


def check_new(file: Path, name: str, *, force: bool) -> None:
    """Refuse to overwrite a file without `--force`.

    Args:
        name: Of the option or argument that names the file.

    Raises:
        ConfigurationError: it is there, or its folder is not.
    """
    if str(file) == "-":
        return
    if file.is_dir() or not file.parent.is_dir():
        msg = f"Expected {name} to be a file in a folder that exists, got {file}."
        raise ConfigurationError(msg)
    if file.exists() and not force:
        msg = f"Expected {name} to be a new file, got {file}, which is there; --force overwrites it."
        raise ConfigurationError(msg)


@contextmanager
def spinner(text: str) -> Iterator[Callable[[], None]]:
    """Show a spinner on a terminal, until the block ends or the function is called."""
    status = console(stderr=True).status(text)
    with status:
        yield status.stop


@contextmanager
def conversion_bar() -> Iterator[Report]:
    """Show a spinner while a model is loaded, and a progress bar while it is converted."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    bar = Progress(*columns, TimeRemainingColumn(), console=console(stderr=True))
    task = bar.add_task("", total=1.0, start=False)
    with spinner("Loading the model") as stop:

        def report(stage: str, fraction: float) -> None:
            if not bar.live.is_started:
                stop()
                bar.start()
                bar.start_task(task)
            bar.update(task, completed=fraction, description=f"Converting the model (once): {stage}")

        try:
            yield report
        finally:
            if bar.live.is_started:
                bar.stop()


@contextmanager
def counting_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for work that counts; appears with the first report."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Work may come in batches that are minutes apart: the time left is estimated from the last ten.
    bar = Progress(*columns, console=console(stderr=True), transient=True, speed_estimate_period=600)
    task = bar.add_task(text, total=None)

    def report(done: int, total: int) -> None:
        if bar.console.is_terminal:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield report
    finally:
        if bar.live.is_started:
            bar.stop()
