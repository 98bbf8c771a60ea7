"""References: what the `$ref`s of a JSON schema stand for in its document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import Draft202012Validator, validator_for
from referencing.exceptions import Unresolvable

from la_agents.errors import ConfigurationError

__all__ = ["MAX_LEVELS", "References", "as_list", "type_of"]

MAX_LEVELS = 128
"""Dicts and lists inside each other, at most; a schema's own level takes two."""


def type_of(value: Any) -> str:
    """A JSON value's type; an integer is a number."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, (list, tuple)) else "object"


_ONLY_A_REFERENCE = {"$ref", "title", "description", "default", "examples", "deprecated", "$comment"}


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
        if isinstance(schema, Mapping) and "$ref" in schema and schema.keys() <= _ONLY_A_REFERENCE:
            return self.target(schema["$ref"])
        return schema

    def allows(self, schema: Any, value: Any) -> bool:
        """Whether a value is of a schema in this document; true if jsonschema cannot check it."""
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


def _child(at: Any, part: str) -> Any:
    if isinstance(at, Mapping):
        return at.get(part)
    return at[int(part)] if isinstance(at, (list, tuple)) and part.isdigit() and int(part) < len(at) else None


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
