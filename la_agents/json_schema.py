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
    """The schema with its objects closed, without titles and formats that are annotations only.

    An object that lists its properties takes no others unless the schema says so: a model would invent some.
    Inside `allOf` nothing is closed: its parts are about one object, of which each knows some properties.

    Raises:
        ConfigurationError: it is no schema.
    """
    if not isinstance(schema, Mapping):
        msg = f"Expected a JSON schema as a dict, got {schema!r}."
        raise ConfigurationError(msg)
    return _narrow(schema, schema)


def _narrow(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    schema = _without_discriminator(schema, root)
    out = {key: _child(key, value, root) for key, value in schema.items() if key != "title"}
    if out.get("format") not in _FORMATS:
        out.pop("format", None)
    if "properties" in out and not {"additionalProperties", "patternProperties", "allOf", "$ref"} & out.keys():
        out["additionalProperties"] = False
    return out


def _child(key: str, value: Any, root: Mapping[str, Any]) -> Any:
    if key in _SCHEMAS and isinstance(value, Mapping):
        return _narrow(value, root)
    if key in _LISTS and isinstance(value, list):
        return [_narrow(part, root) if isinstance(part, Mapping) else part for part in value]
    if key in _NAMED and isinstance(value, Mapping):
        return {name: _narrow(part, root) if isinstance(part, Mapping) else part for name, part in value.items()}
    return value


def _without_discriminator(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """`oneOf` with a discriminator as `anyOf`, where its tags differ and are required: then the two mean the same."""
    discriminator, options = schema.get("discriminator"), schema.get("oneOf")
    if not isinstance(discriminator, Mapping) or not isinstance(options, list):
        return schema
    tag = discriminator.get("propertyName")
    branches = [_resolved(option, root) for option in options]
    values = [_tags(branch, tag) for branch in branches]
    kept = {key: value for key, value in schema.items() if key != "discriminator"}
    if not all(values) or len(set().union(*values)) < sum(map(len, values)):
        return kept
    required = [{**branch, "required": sorted({*branch.get("required", ()), tag})} for branch in branches]
    return {**{key: value for key, value in kept.items() if key != "oneOf"}, "anyOf": required}


def _resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference into the same document stands for; {} if there is no such thing."""
    if not isinstance(schema, Mapping):
        return {}
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    at: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        at = at.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(at, Mapping) else None
    return at if isinstance(at, Mapping) else {}


def _tags(schema: Mapping[str, Any], name: Any) -> set[str]:
    """The texts that a property may have, if it is tied to some."""
    property_ = (schema.get("properties") or {}).get(name)
    if not isinstance(property_, Mapping):
        return set()
    values = [property_["const"]] if "const" in property_ else property_.get("enum", ())
    return {value for value in values if isinstance(value, str)}
