"""What the terminal shows: answers and tables on standard output, notes and progress on standard error."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from la_agents.progress import Progress as Report

__all__ = [
    "answer",
    "clean",
    "console",
    "conversion_bar",
    "counting_bar",
    "is_text",
    "note",
    "print_anything",
    "print_json",
    "spinner",
]


def print_anything() -> None:
    """Let both streams write what their encoding lacks as an escape such as `\\U0001f600`, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_text(text: str) -> bool:
    """Whether it holds no surrogate, as which Python reads the bytes that are not in the terminal's encoding."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def answer(text: str, *, end: str = "\n") -> None:
    """Print a piece of the answer, at once."""
    print(clean(text), end=end, flush=True)


def note(text: str) -> None:
    """Print a line beside the answer."""
    print(clean(text), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print one JSON object or array on one line, in ASCII where the stream cannot hold every character."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    print(json.dumps(value, ensure_ascii=not is_unicode, default=str), flush=True)


def clean(text: str) -> str:
    """Stored text, and generated text, may not steer the terminal: control characters become visible ones."""
    return "".join("\ufffd" if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in text)


def console(*, stderr: bool = False) -> Console:
    """A rich console on the present standard output or error."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


@contextmanager
def spinner(text: str) -> Iterator[None]:
    """Say what is going on while it goes on, if somebody watches."""
    with console(stderr=True).status(text):
        yield


@contextmanager
def conversion_bar() -> Iterator[Report]:
    """A progress bar for the one-time conversion of a model; appears with the first report and only then."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console(stderr=True))
    task = bar.add_task("Converting the model (once)", total=1.0, start=False)

    def report(stage: str, fraction: float) -> None:
        if not bar.live.is_started:
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
        if not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield report
    finally:
        if bar.live.is_started:
            bar.stop()
