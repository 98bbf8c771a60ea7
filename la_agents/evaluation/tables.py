"""Tables in Markdown, each with the provenance of its numbers under it."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Cell", "markdown_table"]

Cell = str | int | float | None


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], provenance: str) -> str:
    """The table and, under it, the line that says where its numbers come from.

    Columns of numbers are aligned to the right. Floats are shown with three decimals, None as a dash.
    """
    numeric = [bool(rows) and not any(isinstance(row[i], str) for row in rows) for i in range(len(columns))]
    lines = [columns, ["---:" if right else "---" for right in numeric], *(map(_text, row) for row in rows)]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", f"*{provenance}*", ""])


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    return f"{cell:.3f}" if isinstance(cell, float) else " ".join(str(cell).split()).replace("|", r"\|")
