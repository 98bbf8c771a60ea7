"""References: what the `$ref`s of a JSON schema stand for in its document, and which types a schema allows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import Draft202012Validator, validator_for
from referencing.exceptions import Unresolvable

from la_agents.errors import ConfigurationError

__all__ = ["ALL_TYPES", "MAX_LEVELS", "References", "type_of"]

MAX_LEVELS = 128
"""Dicts and lists inside each other, at most; a schema's own level takes two."""

ALL_TYPES = frozenset({"null", "boolean", "integer", "fraction", "string", "array", "object"})
"""JSON's types; a schema's "number" is "integer" or "fraction" here."""


def type_of(value: Any) -> str:
    """A JSON value's type; 1.0 is an integer."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "integer" if value == value // 1 else "fraction"
    return "string" if isinstance(value, str) else "array" if isinstance(value, (list, tuple)) else "object"


class References:
    """The named places of one document.

    Raises:
        ConfigurationError: it is nested deeper than `MAX_LEVELS`.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._named: dict[str, Any] = {}
        for node in _nodes(root):
            for key in ("$id", "id"):
                if isinstance(node.get(key), str):
                    self._named.setdefault(node[key].rstrip("#"), node)
            for key in ("$anchor", "$dynamicAnchor"):
                if isinstance(node.get(key), str):
                    self._named.setdefault("#" + node[key], node)

    def target(self, reference: Any) -> Any:
        """The schema that a reference names, by way of schemas that are nothing but references.

        Raises:
            ConfigurationError: nothing in the document has this name, or references only lead to each other.
        """
        seen: list[Any] = []
        while reference not in seen:
            seen.append(reference)
            found = self._lookup(reference)
            if not isinstance(found, Mapping) or "$ref" not in found or len(found) > 1:
                return found
            reference = found["$ref"]
        msg = f"Expected $ref to lead to a schema, got references that lead to each other: {reference!r}."
        raise ConfigurationError(msg)

    def resolved(self, schema: Any) -> Any:
        """The schema itself, or what it refers to if it is nothing but a reference."""
        if isinstance(schema, Mapping) and "$ref" in schema and not _others(schema):
            return self.target(schema["$ref"])
        return schema

    def parts(self, schema: Any, seen: tuple[int, ...] = ()) -> Iterator[Any]:
        """Schemas that must all hold of the same value: the schema, what it refers to, and its `allOf`."""
        if id(schema) in seen:
            return
        yield schema
        if isinstance(schema, Mapping):
            inner = [self.target(schema["$ref"])] if "$ref" in schema else []
            for part in [*inner, *as_list(schema.get("allOf"))]:
                yield from self.parts(part, (*seen, id(schema)))

    def types(self, schema: Any, seen: tuple[int, ...] = ()) -> frozenset[str]:
        """The types that a value of the schema may have, at most."""
        if isinstance(schema, bool) or not isinstance(schema, Mapping) or id(schema) in seen:
            return ALL_TYPES if schema is not False else frozenset()
        out, seen = _declared(schema.get("type")), (*seen, id(schema))
        if "const" in schema:
            out &= {type_of(schema["const"])}
        if isinstance(schema.get("enum"), (list, tuple)):
            out &= {type_of(value) for value in schema["enum"]}
        if "$ref" in schema:
            out &= self.types(self.target(schema["$ref"]), seen)
        for part in as_list(schema.get("allOf")):
            out &= self.types(part, seen)
        for key in ("anyOf", "oneOf"):
            if as_list(schema.get(key)):
                out &= frozenset().union(*(self.types(part, seen) for part in as_list(schema[key])))
        return out

    def allows(self, schema: Any, value: Any) -> bool:
        """Whether a value is of a schema in this document; yes if that cannot be told."""
        kind = validator_for(self._root, default=Draft202012Validator)
        definitions = {key: self._root[key] for key in ("$defs", "definitions", "components") if key in self._root}
        try:
            return bool(kind({**definitions, **schema} if isinstance(schema, Mapping) else schema).is_valid(value))
        except (ValidationError, SchemaError, Unresolvable, re.error, TypeError, ValueError, RecursionError):
            return True

    def _lookup(self, reference: Any) -> Any:
        if not isinstance(reference, str):
            msg = f"Expected $ref to be a string, got {reference!r}."
            raise ConfigurationError(msg)
        base, _, fragment = reference.partition("#")
        at: Any = self._root if not base else self._named.get(base, self._relative(base))
        if fragment and not fragment.startswith("/"):
            at = self._named.get("#" + fragment)
        for part in fragment.split("/")[1:] if fragment.startswith("/") else ():
            at = _child(at, unquote(part).replace("~1", "/").replace("~0", "~"))
        if not isinstance(at, (Mapping, bool)):
            msg = f"Expected $ref to name a schema within the document, got {reference!r}; put it into $defs."
            raise ConfigurationError(msg)
        return at

    def _relative(self, base: str) -> Any:
        """The schema whose `$id` ends so."""
        return next((node for name, node in self._named.items() if name.rsplit("/", 1)[-1] == base.lstrip("./")), None)


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _others(schema: Mapping[str, Any]) -> set[str]:
    """Keywords beside a reference that are about values, too."""
    return schema.keys() - {"$ref", "title", "description", "default", "examples", "deprecated", "$comment"}


def _child(at: Any, part: str) -> Any:
    if isinstance(at, Mapping):
        return at.get(part)
    return at[int(part)] if isinstance(at, (list, tuple)) and part.isdigit() and int(part) < len(at) else None


def _declared(types: Any) -> frozenset[str]:
    named = {types} if isinstance(types, str) else set(as_list(types)) if types is not None else {"number", *ALL_TYPES}
    return frozenset(named - {"number"} | ({"integer", "fraction"} if "number" in named else set()))


def _nodes(root: Any) -> Iterator[Mapping[str, Any]]:
    waiting = [(root, 1)]
    while waiting:
        at, level = waiting.pop()
        if level > MAX_LEVELS:
            msg = f"Expected a schema of at most {MAX_LEVELS} levels, got a deeper one; move parts of it into $defs."
            raise ConfigurationError(msg)
        if isinstance(at, Mapping):
            yield at
        inner = at.values() if isinstance(at, Mapping) else at if isinstance(at, (list, tuple)) else ()
        waiting += [(value, level + 1) for value in inner if isinstance(value, (Mapping, list, tuple))]
