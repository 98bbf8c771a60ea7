"""Endings: an answer is complete at any `max_tokens` that hold a shortest one, whatever its strings have to be."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import jsonschema
import numpy as np
import pytest

from la_agents.engine.constraint import Constraint, GrammarCompiler, allowed_tokens
from la_agents.engine.ending import Ending
from la_agents.errors import ConfigurationError
from la_agents.requests import Grammar
from la_agents.structure.json_schema import narrowed
from la_agents.structure.schema.formats import FORMATS
from tests.tiny import tiny_model

PATTERNS = [
    r"\.pdf$",
    "[0-9]",
    "^[^@]+@[^@]+$",
    r"^\d{3}-\d{4}$",
    "^(foo|bar)+$",
    "^[A-Z]{2}[0-9]{6}[A-Z]$",
    r"^#(?:[0-9a-f]{3}){1,2}$",
    r"^https?://[^\s/$.?#].[^\s]*$",
    r"^\+?[1-9]\d{1,14}$",
    "end$",
    "^é+ü$",
    r"^[a-z0-9]+(?:-[a-z0-9]+)*$",
    '^"[a-z]"$',
    r"^(?=.*[A-Z])(?=.*\d)[A-Za-z\d]{8,}$",
    r"^\\d+$",
    r"^[^\w\s]{3}\W$",
]
NODE = {
    "type": "object",
    "properties": {"n": {"anyOf": [{"$ref": "#/$defs/N"}, {"type": "string", "pattern": "^x{5}$"}]}},
    "required": ["n"],
}
TERM = {"type": "object", "properties": {"e": {"anyOf": [{"$ref": "#/$defs/Add"}, {"$ref": "#/$defs/Lit"}]}}}
TERMS = {  # an option of which each opens two more
    "Term": {**TERM, "required": ["e"]},
    "Lit": {"properties": {"op": {"const": "lit"}, "v": {"type": "number"}}, "required": ["op", "v"]},
    "Add": {
        "properties": {"op": {"const": "add"}, "l": {"$ref": "#/$defs/Term"}, "r": {"$ref": "#/$defs/Term"}},
        "required": ["op", "l", "r"],
    },
}
SCHEMAS: dict[str, Any] = {
    **{name: {"type": "string", "format": name} for name in FORMATS},
    **{pattern: {"type": "string", "pattern": pattern} for pattern in PATTERNS},
    "length": {"type": "string", "minLength": 40, "maxLength": 50},
    "pattern and length": {"type": "string", "pattern": "^[a-c]+$", "minLength": 30},
    "format and pattern": {"type": "string", "format": "email", "pattern": r"\.org$"},
    "large multiples": {"type": "integer", "minimum": 123456, "multipleOf": 7},
    "narrow numbers": {"type": "number", "minimum": 0.001, "maximum": 0.0015},
    "keys": {
        "type": "object",
        "propertyNames": {"pattern": "^[A-Z]{3}$"},
        "minProperties": 1,
        "additionalProperties": {"type": "string", "format": "email"},
    },
    "list": {"type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": 2, "maxItems": 3},
    "a tree of terms": {"$defs": TERMS, "$ref": "#/$defs/Term"},
    "a chain": {"$defs": {"N": NODE}, "$ref": "#/$defs/N"},
}


@pytest.fixture(scope="module", params=["llama", "gemma"])
def compiler(request: pytest.FixtureRequest) -> GrammarCompiler:
    loaded = tiny_model(request.param)
    return GrammarCompiler(loaded, int(loaded.model.config.vocab_size))


def shortest(compiler: GrammarCompiler, grammar: Grammar) -> int:
    """Tokens of the shortest answer, as the error for too few says."""
    with pytest.raises(ConfigurationError, match="shortest answer") as refused:
        compiler.compile(grammar, 0)
    return int(re.findall(r"at least (\d+)", str(refused.value))[0])


def written(compiler: GrammarCompiler, grammar: Grammar, max_tokens: int, seed: int) -> tuple[str, int, Constraint]:
    """An answer of random allowed tokens, as the engine's loop takes them, with their number."""
    constraint, rng = compiler.compile(grammar, max_tokens), random.Random(seed)
    vocabulary, tokens = compiler.tokenizer.vocab_size, list[int]()
    while len(tokens) < max_tokens and not constraint.complete:
        allowed = np.flatnonzero(allowed_tokens([constraint], vocabulary)[0])
        token = constraint.accept(int(rng.choice(allowed.tolist())))
        if token is None:
            break
        tokens.append(token)
    return compiler.tokenizer.decode_bytes(tokens).decode(), len(tokens), constraint


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_answer_ends_in_time(compiler: GrammarCompiler, name: str) -> None:
    string = SCHEMAS[name]
    schema = {"type": "object", "properties": {"x": string, "then": {"type": "boolean"}}, "required": ["x", "then"]}
    schema |= {"$defs": string["$defs"]} if "$defs" in string else {}
    grammar = Grammar.json_schema(narrowed(schema))
    least = shortest(compiler, grammar)
    for seed, more in enumerate((0, 1, 2, 5, 20, 60)):
        text, number, _ = written(compiler, grammar, least + more, seed)
        jsonschema.validate(json.loads(text), schema)
        assert number <= least + more


def test_an_answer_with_room_to_spare_is_not_cut_short(compiler: GrammarCompiler) -> None:
    """Whatever token comes, its own ending is found: with room for any, none has to be taken back."""
    for name in ("email", "uri", r"\.pdf$", "^[^@]+@[^@]+$", "pattern and length"):
        grammar = Grammar.json_schema(narrowed({"type": "array", "items": SCHEMAS[name], "minItems": 1, "maxItems": 1}))
        for seed in range(3):
            _, number, constraint = written(compiler, grammar, 400, seed)
            assert number > 300 or not constraint.cut_short


@pytest.mark.parametrize("pattern", ["([a-y]{7})*zq(xxy){10}!", "[^@]+@[^@]+", r"[a-z]+\.pdf", "a/b|c{4}", r"\d+\n"])
def test_regular_expressions_of_a_whole_answer_end_too(compiler: GrammarCompiler, pattern: str) -> None:
    grammar = Grammar.regex(pattern)
    least = shortest(compiler, grammar)
    for more in (0, 1, 7):
        text, number, _ = written(compiler, grammar, least + more, more)
        assert re.fullmatch(pattern, text)
        assert number <= least + more


def test_a_grammar_is_compiled_and_its_ending_sought_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny_model("llama")
    compiler, sought, find = GrammarCompiler(loaded, int(loaded.model.config.vocab_size)), [], Ending.find

    def counted(self: Ending, *arguments: Any, **options: Any) -> Any:
        sought.append(arguments)
        return find(self, *arguments, **options)

    monkeypatch.setattr(Ending, "find", counted)
    grammar = Grammar.json_schema(narrowed({"type": "string", "format": "email"}))
    for budget in (30, 40, 30):
        compiler.compile(grammar, budget)
    assert len(sought) == 1


def test_answers_of_one_grammar_do_not_meet() -> None:
    loaded = tiny_model("llama")
    compiler = GrammarCompiler(loaded, int(loaded.model.config.vocab_size))
    grammar = Grammar.choice(["ab", "ac"])
    first, second = compiler.compile(grammar, 5), compiler.compile(grammar, 5)
    first.accept(loaded.tokenizer.encode("a")[0])
    assert second.accept(loaded.tokenizer.encode("a")[0]) is not None
