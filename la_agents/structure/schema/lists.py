"""Lists without repetition, and the constants of which they consist."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from la_agents.errors import ConfigurationError
from la_agents.structure.schema.logic import most_distinct
from la_agents.structure.schema.references import References, as_list
from la_agents.structure.schema.values import NothingLeftError, writable

__all__ = ["constants", "equal_form", "whole", "without_repetition"]

_ORDERED_AT_MOST = 4
"""Up to so many constants, every order of them is listed."""


def whole(count: Any) -> Any:
    """A count as an integer: 1.0 is one, too."""
    return int(count) if isinstance(count, float) and count.is_integer() else count


def equal_form(value: Any) -> str:
    """A text that equal values share: 1.0 is 1, true is not."""
    return json.dumps(json.loads(json.dumps(value), parse_float=lambda digits: whole(float(digits))), sort_keys=True)


def constants(schema: Any, references: References) -> list[Any] | None:
    """All values that a schema lists, if it does."""
    schema = references.resolved(schema)
    if not isinstance(schema, Mapping):
        return None
    if "const" in schema or isinstance(schema.get("enum"), (list, tuple)):
        values = [schema["const"]] if "const" in schema else list(schema["enum"])
        return list({equal_form(value): value for value in values if writable(value)}.values())
    return [True, False] if schema.get("type") == "boolean" else None


def without_repetition(given: Mapping[str, Any], references: References) -> tuple[list[Any], bool]:
    """`uniqueItems` by other keywords (every order of a few constants, else a length), and whether that is exact."""
    least, most = given.get("minItems", 0), given.get("maxItems")
    if isinstance(most, int) and most <= 1:
        return [], True
    if "prefixItems" in given:
        columns = [constants(item, references) for item in as_list(given["prefixItems"])]
        length = most_distinct([None if c is None else [*map(equal_form, c)] for c in columns])
        if least > length:
            msg = f"Expected uniqueItems beside items of which {least} can differ, got such of which {length} can."
            raise NothingLeftError(msg)
        return ([{"maxItems": length}] if length < len(columns) else []), False
    listed = constants(given.get("items", True), references)
    if listed is not None and least > len(listed):
        msg = f"Expected uniqueItems to ask for at most {len(listed)} items, all there are, got minItems {least}."
        raise ConfigurationError(msg)
    if listed is None or len(listed) > _ORDERED_AT_MOST:
        return ([] if listed is None else [{"maxItems": len(listed)}]), False
    orders = [
        {"prefixItems": [{"const": value} for value in order], "items": False, "minItems": n, "maxItems": n}
        for n in range(least, min(len(listed), most if most is not None else len(listed)) + 1)
        for order in itertools.permutations(listed, n)
    ]
    return [{"anyOf": orders}], True
