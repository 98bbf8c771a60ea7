"""Objects: which properties they take, under patterns that exclude each other, and how many of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from la_agents.requests.grammar import json_problem
from la_agents.structure.schema.lists import equal_form
from la_agents.structure.schema.references import References, as_list

__all__ = ["UNIONS", "closed", "count_properties", "disjoint", "listed_properties", "of_name", "takes_others"]

UNIONS = ("anyOf", "oneOf")


def listed_properties(schema: Any, references: References) -> dict[str, bool] | None:
    """The properties that a schema's parts list or require together; None if it lists none or takes others."""
    parts = [*_in_place(schema, references, ())]
    only = isinstance(schema, Mapping) and schema.get("unevaluatedProperties") is False
    if takes_others(schema, references) or not (only or any(isinstance(p.get("properties"), Mapping) for p in parts)):
        return None
    names = [[*(part.get("properties") or ()), *(() if only else as_list(part.get("required")))] for part in parts]
    return dict.fromkeys([name for each in names for name in each], True)


def takes_others(schema: Any, references: References) -> bool:
    """Whether a schema says in any part that it takes properties which it does not list."""
    parts = _in_place(schema, references, ())
    return any(p.get("additionalProperties", False) is not False or "patternProperties" in p for p in parts)


def closed(names: dict[str, bool], given: Mapping[str, Any], references: References) -> dict[str, Any]:
    """The schema of an object that has no properties but these, beside the schema that is given."""
    types = references.types(given)
    only = {"type": "object"} if types == {"object"} or ("object" in types and "type" not in given) else {}
    return {**only, "properties": dict(names), "additionalProperties": False}


def _in_place(schema: Any, references: References, above: tuple[int, ...]) -> Iterator[Mapping[str, Any]]:
    """The schema, and those within it that are about the same value."""
    if not isinstance(schema, Mapping) or id(schema) in above:
        return
    yield schema
    inner = [references.target(schema["$ref"])] if "$ref" in schema else []
    inner += [part for key in ("allOf", *UNIONS) for part in as_list(schema.get(key))]
    inner += [schema[key] for key in ("if", "then", "else") if key in schema]
    dependent = schema.get("dependentSchemas")
    for part in [*inner, *(dependent.values() if isinstance(dependent, Mapping) else ())]:
        yield from _in_place(part, references, (*above, id(schema)))


def of_name(name: str, patterns: Mapping[str, Any]) -> list[Any]:
    """The schemas of the patterns that a property's name matches."""
    try:
        return [schema for pattern, schema in patterns.items() if re.search(pattern, name)]
    except re.error:
        return []


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
