"""The other wires of OpenAI's: responses, completions, embeddings, models."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from running import Served

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


@pytest.fixture
def client(tiny_server: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{tiny_server.url}/v1", api_key=tiny_server.key("alice"), max_retries=0)


def test_a_response_whole_and_streamed(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny-llama", "input": "Tell me about the sea.", "instructions": "Be brief."}
    whole = client.responses.create(**asked)
    events = list(client.responses.create(**asked, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = list(dict.fromkeys(event.type for event in events))
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",  # of max_output_tokens
    ]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text != ""
    assert whole.status == "incomplete"
    assert whole.incomplete_details.reason == "max_output_tokens"  # type: ignore[union-attr]
    last: Any = events[-1]
    assert last.response.output_text == text
    assert last.response.usage == whole.usage
    assert whole.la_agents["alignment"]["num_tokens"] == whole.usage.output_tokens  # type: ignore


def test_a_response_calls_tools_and_goes_on_with_their_results(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny-llama", "tools": [WEATHER], "max_output_tokens": 120, "parallel_tool_calls": False}
    first = client.responses.create(input="How is it in Oslo?", tool_choice="required", **asked)
    (call,) = first.output
    assert call.type == "function_call"
    assert first.status == "completed"
    assert json.loads(call.arguments)["city"] in ("Oslo", "Rome")
    with client.responses.stream(
        input="How is it?", tool_choice={"type": "function", "name": "weather"}, **asked
    ) as stream:
        final = stream.get_final_response()
    assert final.output[0].type == "function_call"
    assert json.loads(final.output[0].arguments)
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Rain."}
    turns: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "How is it?"}]},
        call.model_dump(),
        result,
    ]
    second = client.responses.create(input=turns, tool_choice="none", **asked)
    assert second.output[0].type == "message"


def test_a_response_follows_a_schema(client: openai.OpenAI) -> None:
    schema = WEATHER["parameters"]
    answer = client.responses.create(
        model="tiny-llama",
        input="Where?",
        text={"format": {"type": "json_schema", "name": "place", "schema": schema, "strict": True}},
        max_output_tokens=120,
    )
    assert json.loads(answer.output_text)["city"] in ("Oslo", "Rome")
    assert answer.text.format.type == "json_schema"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "change",
    [
        {"previous_response_id": "resp_1"},
        {"background": True},
        {"conversation": "conv_1"},
        {"include": ["message.output_text.logprobs"]},
        {"input": []},
        {"input": [{"type": "item_reference", "id": "x"}]},
        {"input": [{"type": "function_call", "call_id": "x", "name": "f", "arguments": "[]"}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        {"tools": [{"type": "web_search"}]},
        {"text": {"format": {"type": "json_schema", "name": "x"}}},
        {"max_output_tokens": 0},
        {"la_agents": {"x": 1}},
    ],
)
def test_a_bad_response_is_refused(tiny_server: Served, change: dict[str, Any]) -> None:
    with tiny_server.http(tiny_server.key("alice")) as http:
        answer = http.post("/v1/responses", json={"model": "tiny-llama", "input": "x"} | change)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("Expected")


def test_completions_whole_and_streamed(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny-llama", "prompt": ["The sea", "The sky"], "n": 2, "seed": 5, "temperature": 1.0}
    whole = client.completions.create(**asked)
    texts = [""] * 4
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    for chunk in chunks[:-1]:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert [choice.text for choice in whole.choices] == texts
    assert len(set(texts)) == 4
    assert chunks[-1].usage == whole.usage
    alone = [client.completions.create(model="tiny-llama", prompt=prompt) for prompt in ("The sea", "The sky")]
    assert whole.usage.prompt_tokens == sum(each.usage.prompt_tokens for each in alone)  # type: ignore[union-attr]
    explained = client.completions.create(model="tiny-llama", prompt="The sea", logprobs=2)
    logprobs: Any = explained.choices[0].logprobs
    assert "".join(logprobs.tokens) == explained.choices[0].text
    assert len(logprobs.token_logprobs) == len(logprobs.text_offset) == 12


@pytest.mark.parametrize(
    "change", [{"echo": True}, {"best_of": 3}, {"suffix": "x"}, {"prompt": [1, 2]}, {"logprobs": 9}]
)
def test_a_bad_completion_is_refused(tiny_server: Served, change: dict[str, Any]) -> None:
    with tiny_server.http(tiny_server.key("alice")) as http:
        answer = http.post("/v1/completions", json={"model": "tiny-llama", "prompt": "x"} | change)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith(next(iter(change)))


def test_embeddings_are_those_of_the_bundled_model(client: openai.OpenAI) -> None:
    texts = ["I like tea.", "Tea is what I like.", "Ships sail."]
    answer = client.embeddings.create(model="all-MiniLM-L6-v2", input=texts)  # the client asks for base64
    floats = client.embeddings.create(model="all-MiniLM-L6-v2", input=texts[0], encoding_format="float")
    first, second, third = (item.embedding for item in answer.data)
    assert len(first) == 384
    assert first == pytest.approx(floats.data[0].embedding, abs=1e-5)

    def likeness(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert likeness(first, second) > likeness(first, third) + 0.3
    assert answer.usage.prompt_tokens > 0
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="all-MiniLM-L6-v2", input=texts, dimensions=10)
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="all-MiniLM-L6-v2", input=[[1, 2, 3]])
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="ada", input=texts)


def test_models_are_listed_and_described(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny-llama", "all-MiniLM-L6-v2"]
    assert client.models.retrieve("tiny-llama").owned_by == "la-agents"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_whole_numbers_are_whole_however_json_writes_them(tiny_server: Served) -> None:
    with tiny_server.http(tiny_server.key("alice")) as http:
        asked = {"model": "tiny-llama", "prompt": "x", "max_tokens": 2.0, "n": 1.0, "seed": 3.0, "logprobs": 1.0}
        answer = http.post("/v1/completions", json=asked)
        assert answer.status_code == 200
        assert answer.json()["usage"]["completion_tokens"] == 2
        for wrong in (2.5, "2", True, 0.0, 1e300, -1.0):
            refused = http.post("/v1/completions", json=asked | {"max_tokens": wrong})
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "max_tokens")
        description = http.get("/openapi.json").json()["components"]["schemas"]["CompletionRequest"]["properties"]
    (number, _) = description["max_tokens"]["anyOf"]
    assert (number["type"], number["minimum"]) == ("integer", 1)
