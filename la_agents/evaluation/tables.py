"""Tables in Markdown, each with the provenance of its numbers under it."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Cell", "markdown_table"]

Cell = str | int | float | None


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], provenance: str) -> str:
    """The table and, under it, the line that says where its numbers come from. Numbers are aligned to the right.

    Floats are shown with three digits behind the point, None as a dash.
    """
    numeric = [all(not isinstance(row[i], str) for row in rows) for i in range(len(columns))]
    rule = ["---:" if right and rows else "---" for right in numeric]
    lines = [_line(columns), _line(rule), *(_line([_text(cell) for cell in row]) for row in rows)]
    return "\n".join([*lines, "", f"*{provenance}*", ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.3f}"
    return " ".join(str(cell).split())
