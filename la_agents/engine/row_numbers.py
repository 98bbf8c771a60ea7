"""Row numbers: rows of a batch are numbered without gaps, whoever leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["close_gaps"]

T = TypeVar("T")


def close_gaps(items: list[T], leaving: Sequence[int]) -> dict[int, int]:
    """Drop the items of these numbers in place; the last ones move into the gaps. {old number: new number}."""
    moved: dict[int, int] = {}
    origin = list(range(len(items)))
    for number in sorted(leaving, reverse=True):
        last, came_from = items.pop(), origin.pop()
        if number < len(items):
            items[number], origin[number] = last, came_from
            moved[came_from] = number
    return moved
