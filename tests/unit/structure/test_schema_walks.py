"""A differential test: what the grammars of several hundred schemas allow, judged by `jsonschema`."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import jsonschema
import pytest
from jsonschema.validators import extend, validator_for

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
