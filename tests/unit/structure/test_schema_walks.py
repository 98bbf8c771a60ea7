"""A differential test: what the grammars of several hundred schemas allow, judged by `jsonschema`."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import jsonschema
import pytest
from jsonschema.validators import extend, validator_for

from la_agents.errors import ConfigurationError
from la_agents.requests import Grammar
from la_agents.structure.json_schema import Narrowed
from tests.grammar_walks import walks
from tests.schemas import SCHEMAS

_ONLY_CHECKED = {"uniqueItems", "minProperties"}


def _exact_multiple(_: Any, divisor: Any, value: Any, __: Any) -> Any:
    """`jsonschema` divides floats; 0.07 is a multiple of 0.01 all the same."""
    is_number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    if is_number and Fraction(str(value)) % Fraction(str(divisor)):
        yield jsonschema.ValidationError(f"{value} is not a multiple of {divisor}")


def _wrong(schema: dict[str, Any], text: str) -> list[str]:
    kind = extend(validator_for(schema, default=jsonschema.Draft202012Validator), {"multipleOf": _exact_multiple})
    return [error.message for error in kind(schema).iter_errors(json.loads(text))]


def test_there_are_hundreds_of_schemas() -> None:
    assert len(SCHEMAS) >= 300


@pytest.mark.parametrize("name", SCHEMAS)
def test_whatever_the_grammar_allows_is_of_the_schema(name: str) -> None:
    schema = SCHEMAS[name]
    narrowed = Narrowed.of(schema)
    assert narrowed.unkept <= _ONLY_CHECKED
    texts = list(walks(Grammar.json_schema(narrowed.schema), 8))
    assert texts, "no walk came to an end"
    wrong = [(text, found) for text in texts if not narrowed.unkept and (found := _wrong(schema, text))]
    assert not wrong


_NAMES = "abck"
_LEAVES: list[Any] = [
    {"type": "null"},
    {"type": "boolean"},
    {"const": "x"},
    {"enum": ["x", 1, None]},
    {"type": "integer", "minimum": 1, "maximum": 6},
    {"type": "integer", "multipleOf": 2, "minimum": 0, "maximum": 9},
    {"minimum": 2, "maximum": 5},
    {"type": "string", "maxLength": 2},
    {"type": "string", "pattern": "^a"},
    {"type": ["string", "null"], "minLength": 1, "maxLength": 2},
    True,
]


def _composed(rng: random.Random, depth: int) -> Any:
    """A schema of objects, lists and leaves, with unions, conditions and exclusions at any level."""
    if depth <= 0 or rng.random() < 0.15:
        return rng.choice(_LEAVES)
    out: dict[str, Any] = {}
    if rng.random() < 0.6:
        names = rng.sample(_NAMES, rng.randint(1, 3))
        out = {"type": "object"} if rng.random() < 0.85 else {}
        out["properties"] = {name: _composed(rng, depth - 1) for name in names}
        out["required"] = rng.sample(names, rng.randint(0, len(names)))
        more = {"dependentRequired": {names[0]: [rng.choice(_NAMES)]}, "patternProperties": {"^k": rng.choice(_LEAVES)},
                "additionalProperties": rng.choice(_LEAVES), "unevaluatedProperties": False}  # fmt: skip
        out |= {key: value for key, value in more.items() if rng.random() < 0.1}
    elif rng.random() < 0.5:
        out = {"type": "array", "items": _composed(rng, depth - 1), "maxItems": rng.randint(1, 3)}
        out |= {"contains": rng.choice(_LEAVES)} if rng.random() < 0.1 else {}
    key = rng.choice(["allOf", "anyOf", "oneOf", "if", "not"])
    name, rest = rng.choice(_NAMES), [_composed(rng, depth - 1) for _ in range(rng.randint(2, 3))]
    if rng.random() < (0.35 if out else 1.0):
        out |= {
            "if": {
                "if": {"properties": {name: rng.choice(_LEAVES)}, "required": [name]},
                "then": rest[0],
                "else": rest[1],
            },
            "not": {"not": rng.choice([{"type": "string"}, {"required": [name]}, {"const": "x"}])},
        }.get(key, {key: rest})
    return out


@pytest.mark.parametrize("start", range(0, 200, 20))
def test_whatever_a_composed_schema_decodes_is_of_it(start: int) -> None:
    num_decoded = 0
    for seed in range(start, start + 20):
        schema = _composed(random.Random(f"schema {seed}"), 3)
        try:
            narrowed = Narrowed.of({} if schema is True else schema)
            texts = list(walks(Grammar.json_schema(narrowed.schema), 5, longest=150))
        except ConfigurationError:
            continue  # it contradicts itself
        num_decoded += 1
        wrong = [(text, found) for text in texts if not narrowed.unkept and (found := _wrong(narrowed.given, text))]
        assert not wrong, schema
    assert num_decoded >= 10
