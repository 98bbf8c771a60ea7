"""Grammars in the engine: random models whose answers parse and validate all the same, alone and in a mixed batch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from la_agents.engine.constraint import GrammarCompiler
from la_agents.engine.engine import Engine
from la_agents.errors import ConfigurationError, IncompleteAnswerError
from la_agents.requests import Completion, Grammar, Request
from tests.engine_tools import answer, random_request, text_of, tokens_of
from tests.tiny import FAMILIES, tiny_model

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def _request(number: int, grammar: Grammar | None, **options: Any) -> Request:
    request = random_request(number, **options)
    return Request(
        **{name: getattr(request, name) for name in Request.__dataclass_fields__ if name != "grammar"}, grammar=grammar
    )


def _names() -> st.SearchStrategy[str]:
    return st.sampled_from(["a", "name", "ünïcode", "two words", 'a "quote"', "日本"])


def _leaves() -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.just({"type": "string"}),
        st.just({"type": "boolean"}),
        st.just({"type": "null"}),
        st.just({"type": "number"}),
        st.builds(lambda low, n: {"type": "integer", "minimum": low, "maximum": low + n}, *[st.integers(0, 99)] * 2),
        st.builds(lambda v: {"enum": sorted(v)}, st.sets(_names(), min_size=1, max_size=3)),
        st.builds(lambda n: {"type": "string", "minLength": n, "maxLength": n + 3}, st.integers(0, 9)),
        st.just({"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"}),
        st.just({"type": "string", "format": "date"}),
        st.just({"const": {"é": [1, None, "x"]}}),
    )


def _objects(children: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def build(properties: dict[str, Any], num_required: int) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": properties,
            "required": sorted(properties)[:num_required],
            "additionalProperties": False,
        }

    return st.builds(build, st.dictionaries(_names(), children, max_size=3), st.integers(0, 3))


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    return st.recursive(
        _leaves(),
        lambda children: st.one_of(
            _objects(children),
            st.builds(lambda items, n: {"type": "array", "items": items, "minItems": n}, children, st.integers(0, 2)),
            st.builds(lambda options: {"anyOf": options}, st.lists(children, min_size=1, max_size=3)),
        ),
        max_leaves=5,
    )


@pytest.fixture(scope="module", params=FAMILIES)
def engine(request: pytest.FixtureRequest) -> Any:
    with Engine(tiny_model(request.param)) as engine:
        yield engine


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=schemas(), seed=st.integers(0, 1000), room=st.integers(0, 100))
def test_random_models_write_json_that_validates(engine: Engine, schema: dict[str, Any], seed: int, room: int) -> None:
    grammar = Grammar.json_schema(schema)
    max_tokens = _shortest(engine, grammar) + room
    request = _request(seed, grammar, num_branches=1, temperature=2.0, seed=seed, max_tokens=max_tokens)
    completion = engine.complete(request)
    value = json.loads(text_of(engine.loaded, completion))
    jsonschema.validate(value, schema)
    assert len(completion.records) <= max_tokens


def _shortest(engine: Engine, grammar: Grammar) -> int:
    """Tokens of the shortest answer, as the engine says when it is asked for too short a one; 1 if that was enough."""
    try:
        engine.submit(_request(0, grammar, max_tokens=1)).cancel()
    except ConfigurationError as refused:
        return int(re.findall(r"at least (\d+)", str(refused))[0])
    return 1


def test_an_answer_is_closed_before_max_tokens_whatever_they_are(engine: Engine) -> None:
    schema = {"type": "array", "items": PERSON, "minItems": 1}

    def request(max_tokens: int) -> Request:
        return _request(9, Grammar.json_schema(schema), temperature=1.5, seed=1, max_tokens=max_tokens)

    with pytest.raises(ConfigurationError, match=r"at least \d+ for this grammar's shortest answer, got 5") as refused:
        engine.submit(request(5))
    shortest = int(re.findall(r"at least (\d+)", str(refused.value))[0])
    assert shortest < 75
    for max_tokens in (shortest, shortest + 1, shortest + 4, shortest + 13, shortest + 30):
        completion = engine.complete(request(max_tokens))
        jsonschema.validate(json.loads(text_of(engine.loaded, completion)), schema)
        assert len(completion.records) <= max_tokens


@pytest.mark.parametrize("aligned", [False, True])
def test_alignment_inside_the_structure_is_off_unless_asked_for(aligned: bool) -> None:
    loaded = tiny_model("llama")
    options = {"num_branches": 1, "max_tokens": 60, "alignment": {"strength": 3.0}}
    grammar = Grammar.json_schema(PERSON, aligned=aligned)
    completion = answer(loaded, _request(3, grammar, **options))
    jsonschema.validate(json.loads(text_of(loaded, completion)), PERSON)
    reference = answer(loaded, Request(**{**_fields(_request(3, grammar, **options)), "branches": (), "weights": ()}))
    assert (tokens_of(completion) == tokens_of(reference)) is not aligned
    assert any(record.divergence > 0 for record in completion.records) is aligned
    assert all(record.scale == (4.0 if aligned else 0.0) for record in completion.records if any(record.contributions))


def _fields(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in Request.__dataclass_fields__}


def test_a_mixed_batch_gives_everybody_the_tokens_they_get_alone() -> None:
    loaded = tiny_model("qwen2")
    json_, choice = Grammar.json_schema(PERSON), Grammar.choice(["yes", "no", "pérhaps"])
    lazy = Grammar.lark('start: T | head /[0-9]{4}/\nT: /(.|\\n)*/\nhead[lazy]: T " "', trigger=" ")
    kinds = [None, json_, choice, lazy, Grammar.json_schema(PERSON, aligned=True), Grammar.regex("(ab)+c")]
    requests = [
        _request(i, kinds[i % 6], num_branches=i % 3, max_tokens=40, temperature=0.9 * (i % 2), seed=i)
        for i in range(18)
    ]
    alone = [tokens_of(answer(loaded, request)) for request in requests]
    with Engine(loaded) as engine:
        generations = [engine.submit(request) for request in requests]
        together = [tokens_of(generation.completion) for generation in generations]
    assert together == alone


def test_the_structured_part_begins_at_the_trigger(engine: Engine) -> None:
    """Free text until the model happens to write a certain letter, then four digits and the end."""
    letter, completion = next(_triggered(engine))
    text = text_of(engine.loaded, completion)
    assert re.search(rf"^[^{letter}]*{letter}[0-9]{{4}}$", text, re.DOTALL)
    scales = [record.scale for record in completion.records]
    structured = scales.index(0.0)
    assert set(scales[:structured]) == {2.0}
    assert set(scales[structured:]) == {0.0}
    assert re.fullmatch("[0-9]+", engine.loaded.tokenizer.decode(tokens_of(completion)[structured:]))


def _triggered(engine: Engine) -> Iterator[tuple[str, Completion]]:
    """Answers in which the letter came up."""
    for seed in range(5):
        for letter in "eatoin":
            source = f'start: T | head /[0-9]{{4}}/\nT: /(.|\\n)*/\nhead[lazy]: T "{letter}"'
            options = {"num_branches": 1, "temperature": 1.0, "seed": seed, "max_tokens": 60}
            completion = engine.complete(_request(seed, Grammar.lark(source, trigger=letter), **options))
            if letter in text_of(engine.loaded, completion):
                yield letter, completion


def test_end_of_sequence_comes_only_where_the_grammar_accepts() -> None:
    """A model that wants nothing but to stop writes the whole JSON all the same."""
    properties = {"a": {"enum": ["x", "y"]}, "b": {"type": "boolean"}, "c": {"const": [1]}}
    schema = {"type": "object", "properties": properties, "required": ["a", "b", "c"], "additionalProperties": False}
    loaded = tiny_model.__wrapped__("llama")
    (eos,) = loaded.eos_token_ids
    head = loaded.model.get_output_embeddings()

    def prefer_eos(_: torch.nn.Module, __: Any, logits: torch.Tensor) -> torch.Tensor:
        logits[..., eos] += 1e4
        return logits

    handle = head.register_forward_hook(prefer_eos)
    completion = answer(loaded, _request(1, Grammar.json_schema(schema), max_tokens=100))
    handle.remove()
    jsonschema.validate(json.loads(text_of(loaded, completion)), schema)
    assert completion.finish_reason == "stop"


def test_stop_strings_end_free_text_but_not_the_structure() -> None:
    loaded = tiny_model("llama")
    request = _request(5, Grammar.json_schema(PERSON), stop=('"', "name", "}"), max_tokens=60)
    jsonschema.validate(json.loads(_text(loaded, request)), PERSON)


def _text(loaded: Any, request: Request) -> str:
    with Engine(loaded) as engine:
        generation = engine.submit(request)
        return "".join(chunk.text for chunk in generation) + generation.completion.tail


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Grammar.json_schema({"type": "strin"}), "strin"),
        (lambda: Grammar.json_schema({"type": "array", "uniqueItems": True}), "uniqueItems"),
        (lambda: Grammar.json_schema({"$ref": "#/$defs/Nobody"}), "Nobody"),
        (lambda: Grammar.json_schema({"type": "object", "properties": {"a": False}, "required": ["a"]}), "a"),
        (lambda: Grammar.json_schema({"enum": [object()]}), "not JSON"),
        (lambda: Grammar.regex("(ab"), "unclosed"),
        (lambda: Grammar.choice([]), "non-empty"),
        (lambda: Grammar.choice("yes"), "list"),
        (lambda: Grammar.lark("start: nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_decoded_with_is_refused_at_once(make: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        make()


def test_without_an_ending_in_sight_the_last_token_raises() -> None:
    """Nothing reads this grammar of the user's own; a model that does not happen on its end is told so."""
    loaded = tiny_model("llama")
    maze = Grammar.lark("start: /([a-y]{7})*zq(xxy){40}!/")
    request = _request(2, maze, max_tokens=12)
    with Engine(loaded) as engine, pytest.raises((IncompleteAnswerError, ConfigurationError), match="max_tokens"):
        engine.complete(request)


@pytest.mark.parametrize("pattern", ["[a-z]+@[a-z]+\\.com", "(ab)*c", "\\d{4}-\\d{2}", "x{30,}y", "(yes|no|maybe so)"])
def test_regular_expressions_are_ended_in_time_too(engine: Engine, pattern: str) -> None:
    completion = engine.complete(_request(7, Grammar.regex(pattern), max_tokens=40, temperature=1.0, seed=3))
    assert re.fullmatch(pattern, text_of(engine.loaded, completion))


def test_the_shortest_plan_is_kept_from_token_to_token() -> None:
    loaded = tiny_model("llama")
    compiler = GrammarCompiler(loaded, 400)
    constraint = compiler.compile(Grammar.choice(["abcdefgh", "a"]), 3)
    a = loaded.tokenizer.encode("a")[0]
    b = loaded.tokenizer.encode("b")[0]
    assert constraint.accept(a) == a
    assert not constraint.complete
    assert constraint.accept(b) is None  # "abcdefgh" does not fit any more, "a" is complete
