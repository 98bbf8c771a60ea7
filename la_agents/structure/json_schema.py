"""JSON schemas for decoding, narrowed to what llguidance keeps exactly.

The narrowed schema allows nothing that the given one refuses, so whatever is decoded validates against both. Keywords
that can be neither kept nor narrowed are checked after decoding.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema.exceptions import SchemaError
from jsonschema.validators import Draft202012Validator, validator_for
from referencing.exceptions import Unresolvable

from la_agents.errors import ConfigurationError
from la_agents.structure.schema.narrower import SCHEMA_KEYWORDS, Narrower
from la_agents.structure.schema.references import References
from la_agents.structure.schema.writing import written

__all__ = ["SCHEMA_KEYWORDS", "Narrowed", "narrowed", "without_titles"]


@dataclass(frozen=True)
class Narrowed:
    """A schema for decoding.

    Attributes:
        given: As it came.
        schema: What is decoded.
        unkept: Keywords of the given one that the decoded one does not keep.
        types: Of the values that are decoded.
    """

    given: Mapping[str, Any]
    schema: dict[str, Any]
    unkept: frozenset[str]
    types: frozenset[str]

    @classmethod
    def of(cls, schema: Any) -> Narrowed:
        """The narrowed schema; objects that list their properties take no others unless it says so.

        Raises:
            ConfigurationError: it is no schema, or nothing can be decoded that it allows.
        """
        if not isinstance(schema, Mapping):
            msg = f"Expected a JSON schema as a dict, got {schema!r}."
            raise ConfigurationError(msg)
        References(schema)  # refuses what is too deep for anything else
        try:
            return _narrowed(json.dumps(schema))
        except RecursionError as error:
            msg = "Expected references that lead to a schema, got some in a circle, or parts nested too deeply."
            raise ConfigurationError(msg) from error
        except (TypeError, ValueError, AttributeError) as error:
            msg = f"Expected a JSON schema, got {_invalid(schema) or f'a value that is not JSON: {error}'}."
            raise ConfigurationError(msg) from error

    def broken(self, text: str) -> str:
        """The keyword that a decoded text breaks, among those that decoding did not keep; "" if none."""
        if not self.unkept:
            return ""
        kind = validator_for(self.given, default=Draft202012Validator)
        try:
            return next((str(error.validator) for error in kind(self.given).iter_errors(json.loads(text))), "")
        except (re.error, Unresolvable):  # which jsonschema cannot check either
            return ""


def _invalid(schema: Mapping[str, Any]) -> str:
    """What JSON Schema's meta-schema finds wrong with a schema; "" if nothing."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"one whose {error.json_path[2:] or 'value'} is of another kind: {error.message}"
    except (TypeError, ValueError):
        return ""
    return ""


@functools.lru_cache(maxsize=256)  # every call of a bound model asks for the same ones
def _narrowed(source: str) -> Narrowed:
    schema = json.loads(source)
    narrower = Narrower(schema)
    decoded = written(schema, narrower)
    return Narrowed(schema, decoded, frozenset(narrower.unkept), frozenset(narrower.types((schema,))))


def narrowed(schema: Any) -> dict[str, Any]:
    """`Narrowed.of(schema).schema`."""
    return Narrowed.of(schema).schema


def without_titles(schema: Any) -> Any:
    """A schema for a prompt, without titles: they repeat the names of properties."""
    if isinstance(schema, (list, tuple)):
        return [without_titles(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    names = ("properties", "$defs", "definitions", "patternProperties")
    return {
        key: {name: without_titles(part) for name, part in value.items()}
        if key in names and isinstance(value, Mapping)
        else value
        if key in ("enum", "const", "default", "examples")
        else without_titles(value)
        for key, value in schema.items()
        if key != "title"
    }
