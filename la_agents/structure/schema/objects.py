"""Objects: which properties they take, under patterns that exclude each other, and how many of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from la_agents.requests.grammar import json_problem
from la_agents.structure.schema.lists import equal_form

__all__ = ["count_properties", "disjoint"]


def disjoint(given: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Patterns of names that exclude each other: those that may share a name become one where their schemas are equal,
    else the later one is left out. And whether all were kept.
    """
    out: dict[str, Any] = {}
    exact = True
    for pattern, schema in given.items():
        shared = [
            other for other in out if "not disjoint" in json_problem({"patternProperties": {other: {}, pattern: {}}})
        ]
        if shared and any(equal_form(out[other]) != equal_form(schema) for other in shared):
            exact = False
            continue
        for other in shared:
            del out[other]
        out["|".join(f"(?:{name})" for name in (*shared, pattern)) if shared else pattern] = schema
    return out, exact


def count_properties(out: dict[str, Any], required: list[str]) -> bool:
    """Turn `minProperties` and `maxProperties` into which optional properties there are; whether that is exact."""
    least, most = out.get("minProperties", 0), out.get("maxProperties")
    properties, known = out.get("properties") or {}, len(set(required))
    optional = [name for name, value in properties.items() if name not in required and value is not False]
    closed = out.get("additionalProperties") is False and "patternProperties" not in out
    if closed and least > known:
        out["required"] = [*required, *optional[: least - known]]
        optional, known = optional[least - known :], min(least, known + len(optional))
    if most is not None or (least > known and not closed):
        unwanted = optional[max(most - known, 0) :] if closed and most is not None else optional
        out["properties"] = {**properties, **dict.fromkeys(unwanted, False)} if unwanted else properties
    if closed:
        for key, kept in (("minProperties", least <= known), ("maxProperties", most is None or most >= known)):
            if kept:
                out.pop(key, None)
    if not out.get("properties", True):
        out.pop("properties")
    return closed or least - known <= 1  # the grammar lets a name come twice
