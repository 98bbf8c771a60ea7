"""Closing: which properties the parts of a composition list together, so that an object of it takes no others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from la_agents.structure.schema.references import References, as_list

__all__ = ["UNIONS", "Closing"]

UNIONS = ("anyOf", "oneOf")


class Closing:
    """Reads the schemas of one document."""

    def __init__(self, references: References) -> None:
        self._references = references

    def listed(self, schema: Any) -> dict[str, bool] | None:
        """The properties that a schema's parts list or require; None if it lists none or takes others."""
        names: dict[str, bool] = {}
        only = isinstance(schema, Mapping) and schema.get("unevaluatedProperties") is False
        lists = self._list(schema, names, (), required=not only) or only
        return names if lists and not self.takes_others(schema) else None

    def takes_others(self, schema: Any, seen: tuple[int, ...] = ()) -> bool:
        """Whether a schema says in any part that it takes properties which it does not list."""
        if not isinstance(schema, Mapping) or id(schema) in seen:
            return False
        if schema.get("additionalProperties", False) is not False or "patternProperties" in schema:
            return True
        return any(self.takes_others(inner, (*seen, id(schema))) for inner in self._in_place(schema))

    def closed(self, names: dict[str, bool], given: Mapping[str, Any]) -> dict[str, Any]:
        """The schema of an object that has no properties but these."""
        types = self._references.types(given)
        only = {"type": "object"} if types == {"object"} or ("object" in types and "type" not in given) else {}
        return {**only, "properties": dict(names), "additionalProperties": False}

    def _list(self, schema: Any, names: dict[str, bool], seen: tuple[int, ...], *, required: bool) -> bool:
        if not isinstance(schema, Mapping) or id(schema) in seen:
            return False
        own = schema.get("properties")
        lists = isinstance(own, Mapping)
        names.update(dict.fromkeys([*(own or ()), *(as_list(schema.get("required")) if required else ())], True))
        seen = (*seen, id(schema))
        return any([lists, *(self._list(inner, names, seen, required=required) for inner in self._in_place(schema))])

    def _in_place(self, schema: Mapping[str, Any]) -> Iterator[Any]:
        """Schemas about the same value."""
        if "$ref" in schema:
            yield self._references.target(schema["$ref"])
        for key in ("allOf", *UNIONS):
            yield from as_list(schema.get(key))
        for key in ("if", "then", "else"):
            if key in schema:
                yield schema[key]
        if isinstance(schema.get("dependentSchemas"), Mapping):
            yield from schema["dependentSchemas"].values()
