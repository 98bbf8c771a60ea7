"""Every answer is what OpenAI's own types take, word for word: typed clients refuse an unknown one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from running import Served, served

from la_agents.engine.engine import Engine
from la_agents_server.wire.chat import ChatAnswer
from la_agents_server.wire.completion import CompletionAnswer
from la_agents_server.wire.response import ResponseAnswer
from tests.engine_tools import looping_model

MESSAGES = [{"role": "user", "content": "Hello"}]
SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}
FUNCTION = {"name": "weather", "parameters": SCHEMA}
FORMAT = {"name": "place", "schema": SCHEMA}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("chat/completions", {"messages": MESSAGES}),
    "choices": ("chat/completions", {"messages": MESSAGES, "n": 2, "temperature": 1.0, "seed": 1}),
    "logprobs": ("chat/completions", {"messages": MESSAGES, "logprobs": True, "top_logprobs": 2}),
    "call": (
        "chat/completions",
        {"messages": MESSAGES, "tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"}
        | {"max_tokens": 200},
    ),
    "format": (
        "chat/completions",
        {"messages": MESSAGES, "response_format": {"type": "json_schema", "json_schema": FORMAT}, "max_tokens": 200},
    ),
    "completion": ("completions", {"prompt": "Hello"}),
    "completions": ("completions", {"prompt": ["Hello", "The sea"], "n": 2, "logprobs": 1}),
    "response": ("responses", {"input": "Hello"}),
    "response call": (
        "responses",
        {"input": "Hello", "tools": [{"type": "function", "strict": True, **FUNCTION}], "tool_choice": "required"}
        | {"max_output_tokens": 200},
    ),
    "response format": (
        "responses",
        {"input": "Hello", "text": {"format": {"type": "json_schema", **FORMAT}}, "max_output_tokens": 200},
    ),
}
TYPES: dict[str, tuple[Any, Any]] = {
    "chat/completions": (ChatCompletion, ChatCompletionChunk),
    "completions": (Completion, Completion),
    "responses": (Response, ResponseStreamEvent),
}
DESCRIBED = {"chat/completions": ChatAnswer, "completions": CompletionAnswer, "responses": ResponseAnswer}
"""What OpenAPI says of whole answers; nothing converts them to it."""


@pytest.fixture(scope="module")
def looping_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model that repeats itself without end."""
    with (
        Engine(looping_model()) as engine,
        served(tmp_path_factory.mktemp("looping"), {"engine": engine}, requests_per_minute=100_000) as server,
    ):
        yield server


def check(kind: Any, value: dict[str, Any]) -> None:
    """That this is of OpenAI's type; but its own server writes null, as ours does, until a completion has ended."""
    if kind is Completion:
        value = value | {
            "choices": [each | {"finish_reason": each["finish_reason"] or "stop"} for each in value["choices"]]
        }
    TypeAdapter(kind).validate_python(value)


def answers(server: Served, wire: str, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The whole answer, and then the events of the streamed one."""
    streamed = {"stream": True} if wire == "responses" else STREAMED
    with server.http(server.key("typed")) as http:
        body = {"model": server.services.model_name, **asked}
        whole = http.post(f"/v1/{wire}", json=body)
        assert whole.status_code == 200, whole.text
        yield whole.json()
        for line in http.post(f"/v1/{wire}", json=body | streamed).text.splitlines():
            if line.startswith("data: {"):
                yield json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("name", REQUESTS)
def test_answers_are_of_openais_types(tiny_server: Served, name: str) -> None:
    wire, asked = REQUESTS[name]
    whole_type, event_type = TYPES[wire]
    whole, *events = answers(tiny_server, wire, asked)
    check(whole_type, whole)
    DESCRIBED[wire].model_validate(whole, strict=True)
    assert len(events) > 3
    for event in events:
        check(event_type, event)


def test_embeddings_and_models_are_of_openais_types(tiny_server: Served) -> None:
    with tiny_server.http(tiny_server.key("typed")) as http:
        embedded = http.post("/v1/embeddings", json={"model": "all-MiniLM-L6-v2", "input": ["Hello"]}).json()
        CreateEmbeddingResponse.model_validate(embedded)
        for model in http.get("/v1/models").json()["data"]:
            Model.model_validate(model)


@pytest.mark.parametrize("name", ["chat", "choices", "completion", "completions", "response"])
def test_an_answer_that_repeats_itself_stops_in_openais_words_and_says_why_in_ours(
    looping_server: Served, name: str
) -> None:
    wire, asked = REQUESTS[name]
    asked = asked | ({"max_output_tokens": 700} if wire == "responses" else {"max_tokens": 700, "temperature": 0})
    whole_type, event_type = TYPES[wire]
    whole, *events = answers(looping_server, wire, asked)
    check(whole_type, whole)
    for event in events:
        check(event_type, event)
    if wire == "responses":
        last = events[-1]["response"]
        assert whole["status"] == last["status"] == "completed"
        assert whole["la_agents"]["finish_reason"] == last["la_agents"]["finish_reason"] == "repetition"
        return
    num_choices = len(whole["choices"])
    assert {choice["finish_reason"] for choice in whole["choices"]} == {"stop"}
    own = whole["la_agents"]
    assert own.get("finish_reasons", [own.get("finish_reason")]) == ["repetition"] * num_choices
    ends = [event for event in events if event["choices"] and event["choices"][0]["finish_reason"]]
    assert [event["choices"][0]["finish_reason"] for event in ends] == ["stop"] * num_choices
    assert [event["la_agents"]["finish_reason"] for event in ends] == ["repetition"] * num_choices


def test_other_endings_are_named_twice_alike(tiny_server: Served) -> None:
    for wire, asked in (("chat/completions", {"messages": MESSAGES}), ("completions", {"prompt": "Hello"})):
        whole, *_ = answers(tiny_server, wire, asked | {"max_tokens": 2})
        assert whole["choices"][0]["finish_reason"] == whole["la_agents"]["finish_reason"] == "length"
