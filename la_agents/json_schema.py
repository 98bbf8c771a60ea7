"""JSON schemas on their way into a grammar: what decoding narrows, so that what comes out is what was meant.

The narrowed schema allows nothing that the given one refuses, so whatever is decoded validates against both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from la_agents.errors import ConfigurationError

__all__ = ["narrowed"]

# What llguidance can decode; JSON Schema lets others be mere annotations.
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"})
_SCHEMAS = ("items", "additionalProperties", "contains")
_LISTS = ("anyOf", "oneOf", "prefixItems")
_NAMED = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")


def narrowed(schema: Any) -> dict[str, Any]:
    """The schema with its objects closed and without formats that are annotations only.

    An object that lists its properties takes no others unless the schema says so: a model would invent some.
    Inside `allOf` nothing is closed: its parts are about one object, of which each knows some properties.

    Raises:
        ConfigurationError: it is no schema.
    """
    if not isinstance(schema, Mapping):
        msg = f"Expected a JSON schema as a dict, got {schema!r}."
        raise ConfigurationError(msg)
    return _narrow(schema)


def _narrow(schema: Mapping[str, Any]) -> dict[str, Any]:
    out = {key: _child(key, value) for key, value in schema.items() if key != "discriminator"}
    if out.get("format") not in _FORMATS:
        out.pop("format", None)
    if "properties" in out and not {"additionalProperties", "patternProperties", "allOf", "$ref"} & out.keys():
        out["additionalProperties"] = False
    return out


def _child(key: str, value: Any) -> Any:
    if key in _SCHEMAS and isinstance(value, Mapping):
        return _narrow(value)
    if key in _LISTS and isinstance(value, list):
        return [_narrow(part) if isinstance(part, Mapping) else part for part in value]
    if key in _NAMED and isinstance(value, Mapping):
        return {name: _narrow(part) if isinstance(part, Mapping) else part for name, part in value.items()}
    return value
