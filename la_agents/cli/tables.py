"""Rows and columns on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from la_agents.cli.terminal import clean, console

__all__ = ["print_table"]


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Ids and texts are wrapped, never cut: an id is there to be copied."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
        column.no_wrap = column.header in ("id", "by")
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    console().print(table)
