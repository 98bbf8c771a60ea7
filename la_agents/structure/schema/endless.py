"""Endless schemas: every value of one holds another value of it, so none can be finished."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from la_agents.errors import ConfigurationError

__all__ = ["without_endless"]


def without_endless(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A written schema with its definitions, without the endless ones and what refers to them.

    Raises:
        ConfigurationError: the schema itself is endless.
    """
    ending: set[str] = set()
    found = True
    while found:
        new = {name for name, inner in definitions.items() if name not in ending and _ends(inner, ending)}
        ending |= new
        found = bool(new)
    if not _ends(schema, ending):
        msg = "Expected a schema of which some value can be finished, got one that asks for itself."
        raise ConfigurationError(msg)
    endless = definitions.keys() - ending
    kept = {name: _without(inner, endless) for name, inner in definitions.items() if name in ending}
    return {**_without(schema, endless), **({"$defs": kept} if kept else {})}


def _ends(schema: Any, ending: set[str]) -> bool:
    """Whether a value of a schema can be finished, given the definitions whose values can."""
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema:
        return _name(schema) in ending
    if "anyOf" in schema:
        return any(_ends(option, ending) for option in schema["anyOf"])
    required, least = schema.get("required", ()), schema.get("minItems", 0)
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        others = [schema.get("additionalProperties", True), *schema.get("patternProperties", {}).values()]
        enough = schema.get("minProperties", 0) <= len(required)
        return all(_ends(properties[name], ending) for name in required if name in properties) and (
            enough or any(_ends(inner, ending) for inner in [*others, *properties.values()])
        )
    if schema.get("type") == "array" and least:
        first = schema.get("prefixItems", [])[:least]
        rest = [schema.get("items", True)] if len(first) < least else []
        return all(_ends(inner, ending) for inner in [*first, *rest])
    return True


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"].rsplit("/", 1)[-1])


def _without(schema: Any, endless: set[str]) -> Any:
    if isinstance(schema, list):
        return [_without(part, endless) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("$ref"), str) and _name(schema) in endless:
        return False
    return {key: value if key == "enum" else _without(value, endless) for key, value in schema.items()}
