"""Lists: `uniqueItems` in keywords that llguidance knows."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from la_agents.errors import ConfigurationError
from la_agents.structure.schema.references import as_list
from la_agents.structure.schema.shapes import All, Reader
from la_agents.structure.schema.values import NothingLeftError, writable

__all__ = ["equal_form", "whole", "without_repetition"]

_ORDERED_AT_MOST = 4
"""Up to so many constants, every order of them is listed."""


def whole(count: Any) -> Any:
    """A count as an integer: 1.0 is one, too."""
    return int(count) if isinstance(count, float) and count.is_integer() else count


def equal_form(value: Any) -> str:
    """A text that equal values share: 1.0 is 1, true is not."""
    return json.dumps(json.loads(json.dumps(value), parse_float=lambda digits: whole(float(digits))), sort_keys=True)


def without_repetition(given: Mapping[str, Any], reader: Reader) -> tuple[list[list[Any]], bool]:
    """`uniqueItems` by other keywords (every order of a few constants, else a length), and whether that is exact.

    The keywords are schemas of the list, one of each list holds.
    """
    least, most = given.get("minItems", 0), given.get("maxItems")
    if isinstance(most, int) and most <= 1:
        return [], True
    if "prefixItems" in given:
        columns = [_distinct((item,), reader) for item in as_list(given["prefixItems"])]
        length = _most_distinct([None if c is None else [*map(equal_form, c)] for c in columns])
        if least > length:
            msg = f"Expected uniqueItems beside items of which {least} can differ, got such of which {length} can."
            raise NothingLeftError(msg)
        return ([[{"maxItems": length}]] if length < len(columns) else []), False
    listed = _distinct((given.get("items", True),), reader)
    if listed is not None and least > len(listed):
        msg = f"Expected uniqueItems to ask for at most {len(listed)} items, all there are, got minItems {least}."
        raise ConfigurationError(msg)
    if listed is None or len(listed) > _ORDERED_AT_MOST:
        return ([] if listed is None else [[{"maxItems": len(listed)}]]), False
    orders = [
        {"prefixItems": [{"const": value} for value in order], "items": False, "minItems": n, "maxItems": n}
        for n in range(least, min(len(listed), most if most is not None else len(listed)) + 1)
        for order in itertools.permutations(listed, n)
    ]
    return [orders], True


def _distinct(schemas: All, reader: Reader) -> list[Any] | None:
    """The different constants that an item can be, if it is one."""
    values = reader.constants(schemas)
    return values and [*{equal_form(value): value for value in values if writable(value)}.values()]


def _most_distinct(columns: Sequence[Sequence[str] | None]) -> int:
    """How many columns, from the first, can hold values that all differ; None is a column of any value.

    A bipartite matching, by augmenting paths.
    """
    holder: dict[str, int] = {}

    def place(at: int, tried: set[str]) -> bool:
        for value in columns[at] or ():
            if value not in tried:
                tried.add(value)
                if value not in holder or place(holder[value], tried):
                    holder[value] = at
                    return True
        return False

    for at, column in enumerate(columns):
        if column is not None and not place(at, set()):
            return at
    return len(columns)
