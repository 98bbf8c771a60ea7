"""Endless schemas: every value of one holds another value of it, so none can be finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from la_agents.errors import ConfigurationError
from la_agents.structure.schema.references import as_list

__all__ = ["without_endless"]


def without_endless(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A schema with its definitions, without the endless ones and what refers to them.

    Raises:
        ConfigurationError: the schema itself is endless.
    """
    ending: set[str] = set()
    found = True
    while found:
        new = {name for name, inner in definitions.items() if name not in ending and _ends(inner, ending)}
        ending |= new
        found = bool(new)
    endless = definitions.keys() - ending
    if not _ends(schema, ending):
        msg = f"Expected a schema of which some value can be finished, got one that asks for itself: {sorted(endless)}."
        raise ConfigurationError(msg)
    kept = {name: _without(inner, endless) for name, inner in definitions.items() if name in ending}
    out = _without(schema, endless) if endless else schema
    return {**out, "$defs": kept} if kept else dict(out)


def _parts(schema: Any) -> Iterator[Any]:
    yield schema
    for part in as_list(schema.get("allOf")) if isinstance(schema, Mapping) else ():
        yield from _parts(part)


def _ends(schema: Any, ending: set[str]) -> bool:
    """Whether a value of a schema can be finished, given the definitions whose values can."""
    parts = list(_parts(schema))
    required = {name for part in parts if isinstance(part, Mapping) for name in as_list(part.get("required"))}
    kinds = [set(as_list(p["type"]) or [p["type"]]) for p in parts if isinstance(p, Mapping) and "type" in p]
    types = set.intersection(*kinds) if kinds else set()
    return all(_part_ends(part, types, required, ending) for part in parts)


def _part_ends(part: Any, types: set[str], required: set[str], ending: set[str]) -> bool:
    if not isinstance(part, Mapping):
        return part is not False
    if "$ref" in part and part["$ref"].rsplit("/", 1)[-1] not in ending:
        return False
    if "anyOf" in part and not any(_ends(option, ending) for option in part["anyOf"]):
        return False
    if types == {"object"}:
        properties = part.get("properties") or {}
        if not all(_ends(inner, ending) for name, inner in properties.items() if name in required):
            return False
        others = [part.get("additionalProperties", True), *(part.get("patternProperties") or {}).values()]
        enough = part.get("minProperties", 0) <= len(required)
        return enough or any(_ends(inner, ending) for inner in [*others, *properties.values()])
    if types == {"array"} and part.get("minItems"):
        first = as_list(part.get("prefixItems"))[: part["minItems"]]
        rest = [part.get("items", True)] if len(first) < part["minItems"] else []
        return all(_ends(inner, ending) for inner in [*first, *rest])
    return True


def _without(schema: Any, endless: set[str]) -> Any:
    if isinstance(schema, list):
        return [_without(part, endless) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    if isinstance(schema.get("$ref"), str) and schema["$ref"].rsplit("/", 1)[-1] in endless:
        return False
    return {
        key: value if key in ("enum", "default", "examples") else _without(value, endless)
        for key, value in schema.items()
    }
