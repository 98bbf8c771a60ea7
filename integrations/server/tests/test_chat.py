from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import openai
import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel
from running import Served, held, served, wait_until

from la_agents import PreferenceStore
from la_agents.engine.engine import Engine
from la_agents.engine.scheduler import Limits
from la_agents.requests import Request, Sampling
from tests.engine_tools import fresh_model
from tests.tiny import tiny_model

MESSAGES: Any = [{"role": "user", "content": "Tell me about the sea."}]
WIRES: list[tuple[str, Any]] = [
    ("chat/completions", {"model": "tiny-llama", "messages": MESSAGES}),
    ("completions", {"model": "tiny-llama", "prompt": "The sea"}),
    ("responses", {"model": "tiny-llama", "input": "The sea"}),
]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]},
    },
}


@pytest.fixture
def client(tiny_server: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{tiny_server.url}/v1", api_key=tiny_server.key("alice"), max_retries=0)


@pytest.fixture
def http(tiny_server: Served) -> httpx.Client:
    return tiny_server.http(tiny_server.key("alice"))


def events_of(text: str) -> list[str]:
    """The data of each event, comments left out."""
    assert text.endswith("\n\n")
    return [event.removeprefix("data: ") for event in text[:-2].split("\n\n") if not event.startswith(":")]


def test_a_whole_answer_and_a_streamed_one_are_the_same(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny-llama", "messages": MESSAGES, "seed": 3, "temperature": 1.0}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 2) + ["length"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert len({(c.id, c.created, c.model, c.object) for c in chunks}) == 1
    assert chunks[-2].la_agents["alignment"]["num_tokens"] == whole.usage.completion_tokens  # type: ignore[attr-defined]


def test_the_stream_is_written_to_the_letter(http: httpx.Client) -> None:
    answer = http.post("/v1/chat/completions", json={"model": "tiny-llama", "messages": MESSAGES, "stream": True})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-length" not in answer.headers
    *chunks, done = events_of(answer.text)
    assert done == "[DONE]"
    assert all(json.loads(chunk)["choices"][0]["index"] == 0 for chunk in chunks)
    assert not any("usage" in json.loads(chunk) for chunk in chunks)


async def test_the_async_client_gets_as_many_choices_as_it_asked_for(tiny_server: Served) -> None:
    client = openai.AsyncOpenAI(base_url=f"{tiny_server.url}/v1", api_key=tiny_server.key("alice"))
    asked: Any = {"model": "tiny-llama", "messages": MESSAGES, "n": 3, "seed": 1, "temperature": 1.0}
    whole = await client.chat.completions.create(**asked)
    texts = ["", "", ""]
    reasons: list[str | None] = [None, None, None]
    async for chunk in await client.chat.completions.create(**asked, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        reasons[chunk.choices[0].index] = chunk.choices[0].finish_reason or reasons[chunk.choices[0].index]
    assert [choice.message.content for choice in whole.choices] == texts
    assert len(set(texts)) == 3
    assert None not in reasons
    assert [choice.index for choice in whole.choices] == [0, 1, 2]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_tool_is_called_whole_and_streamed(client: openai.OpenAI, choice: Any) -> None:
    asked: Any = {"model": "tiny-llama", "messages": MESSAGES, "tools": [WEATHER], "tool_choice": choice}
    asked |= {"max_tokens": 120, "parallel_tool_calls": False}
    whole = client.chat.completions.create(**asked).choices[0]
    assert whole.finish_reason == "tool_calls"
    assert whole.message.content is None
    (call,) = whole.message.tool_calls or ()
    assert call.type == "function"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["city"] in ("Oslo", "Rome")
    with client.chat.completions.stream(**asked) as stream:
        final = stream.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls"
    (streamed,) = final.message.tool_calls or ()
    assert json.loads(streamed.function.arguments) == json.loads(call.function.arguments)
    assert streamed.id


def test_a_conversation_with_calls_and_results_goes_on(client: openai.OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    answer = client.chat.completions.create(
        model="tiny-llama",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "How is it in Oslo?"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},  # type: ignore[list-item]
            {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
        ],
        tools=[WEATHER],
        tool_choice="none",
    )
    assert answer.choices[0].finish_reason == "length"


def test_an_answer_is_parsed_into_a_class(client: openai.OpenAI) -> None:
    class City(BaseModel):
        name: Literal["Oslo", "Rome"]
        is_big: bool

    answer = client.chat.completions.parse(model="tiny-llama", messages=MESSAGES, response_format=City, max_tokens=200)
    assert isinstance(answer.choices[0].message.parsed, City)
    mode: Any = {"type": "json_object"}
    answer_text = client.chat.completions.create(
        model="tiny-llama", messages=MESSAGES, response_format=mode, max_tokens=200
    )
    assert isinstance(json.loads(answer_text.choices[0].message.content or ""), dict)


def test_logprobs_are_the_aligned_ones_with_the_references_beside_them(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny-llama", "messages": MESSAGES, "logprobs": True, "top_logprobs": 2}
    asked["extra_body"] = {"la_agents": {"principles": ["Talk like a pirate."], "support": "all"}}
    answer = client.chat.completions.create(**asked)
    tokens = answer.choices[0].logprobs.content  # type: ignore[union-attr]
    assert tokens is not None
    assert "".join(token.token for token in tokens) == answer.choices[0].message.content
    for token in tokens:
        assert token.logprob == token.top_logprobs[0].logprob  # greedy
        assert [t.logprob for t in token.top_logprobs] == sorted((t.logprob for t in token.top_logprobs), reverse=True)
        assert token.la_agents["reference_logprob"] < 0  # type: ignore[attr-defined]
    assert any(t.logprob != t.la_agents["reference_logprob"] for t in tokens)  # type: ignore[attr-defined]
    report = answer.la_agents["alignment"]  # type: ignore[attr-defined]
    assert "tokens" not in report
    assert "text" not in report["principles"][0]
    last = list(client.chat.completions.create(**asked, stream=True))[-1]
    assert last.choices[0].logprobs.content == tokens  # type: ignore[union-attr]


def test_an_answer_follows_the_preferences_of_its_user(tiny_server: Served) -> None:
    tiny_server.services.store.add("prefers", "Talk like a pirate.", scope="always")
    with tiny_server.http(tiny_server.key("prefers")) as http:
        asked = {"model": "tiny-llama", "messages": MESSAGES}
        aligned = http.post("/v1/chat/completions", json=asked).json()
        explained = http.post("/v1/chat/completions", json=asked | {"la_agents": {"explain": True}}).json()
        plain = http.post("/v1/chat/completions", json=asked | {"la_agents": {"memory": False}}).json()
        (used,) = aligned["la_agents"]["alignment"]["principles"]
        without = http.post("/v1/chat/completions", json=asked | {"la_agents": {"without": [used["id"]]}}).json()
    assert used["layer"] == "user"
    assert explained["la_agents"]["alignment"]["principles"][0]["text"] == "Talk like a pirate."
    assert len(explained["la_agents"]["alignment"]["tokens"]) == explained["usage"]["completion_tokens"]
    assert plain["la_agents"]["alignment"]["principles"] == []
    assert without["la_agents"]["alignment"]["principles"] == []
    assert plain["choices"][0]["message"] == without["choices"][0]["message"] != aligned["choices"][0]["message"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0]",
        ),
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": True}, "max_completion_tokens"),
        ({"seed": 0.5}, "seed"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"store": True}, "store"),
        ({"top_logprobs": 20, "logprobs": True}, "top_logprobs"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [WEATHER] * 200}, "tools"),
        ({"response_format": {"type": "lark", "lark": "start: x"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"la_agents": {"strenght": 1}}, "la_agents.strenght"),
        ({"la_agents": {"explain": 1}}, "la_agents.explain"),
        ({"la_agents": {"strength": 1e300}}, None),
        ({"la_agents": {"method": "magic"}}, None),
        ({"stop": [""]}, None),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, None),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "y" * 5_000}]}, None),
        ({"tools": [WEATHER], "tool_choice": "nothing"}, None),
    ],
)
def test_bad_input_is_refused_with_the_field_named(
    http: httpx.Client, change: dict[str, Any], param: str | None
) -> None:
    body = json.dumps({"model": "tiny-llama", "messages": MESSAGES} | change)
    for stream in ("", ',"stream":true'):
        answer = http.post(
            "/v1/chat/completions", content=body[:-1] + stream + "}", headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["message"].startswith("Expected")
        if param is not None:
            assert (error["param"] or "").startswith(param)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"model": NaN}', b'"x"'])
def test_a_body_that_is_no_request_is_refused(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "limits", [{"max_tokens": 3}, {"max_completion_tokens": 3}, {"max_tokens": 9, "max_completion_tokens": 3}]
)
def test_an_answer_is_as_long_as_it_may_be(http: httpx.Client, limits: dict[str, int]) -> None:
    answer = http.post("/v1/chat/completions", json={"model": "tiny-llama", "messages": MESSAGES} | limits).json()
    assert answer["usage"]["completion_tokens"] == 3
    assert answer["choices"][0]["finish_reason"] == "length"


def test_neutral_values_and_unknown_fields_are_taken(http: httpx.Client) -> None:
    neutral = {
        "presence_penalty": 0.0,
        "frequency_penalty": 0,
        "logit_bias": {},
        "store": False,
        "service_tier": "auto",
    }
    asked = {"model": "tiny-llama", "messages": MESSAGES, "stop": None, "metadata": {"a": "b"}, "top_k": 40, **neutral}
    assert http.post("/v1/chat/completions", json=asked).status_code == 200


def test_another_model_is_not_found_and_a_long_prompt_is_too_long(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-7", messages=MESSAGES)
    assert missing.value.code == "model_not_found"
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as long:
            client.chat.completions.create(
                model="tiny-llama", messages=[{"role": "user", "content": "sea " * 20_000}], stream=stream
            )
        assert long.value.code == "context_length_exceeded"


@pytest.fixture(scope="module")
def endless_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model that ends no answer by itself."""
    with (
        Engine(fresh_model()) as engine,
        served(tmp_path_factory.mktemp("endless"), {"engine": engine}, requests_per_minute=100_000) as server,
    ):
        yield server


def begun(server: Served, wire: str, asked: dict[str, Any]) -> Callable[[], None]:
    """Ask, and return how the client leaves: a reader of a stream closes it, who waits for a whole answer dies."""
    http = server.http(server.key("alice"))
    request = http.build_request("POST", f"/v1/{wire}", json=asked)
    if asked["stream"]:
        lines = http.send(request, stream=True).iter_lines()
        next(lines)
        return lines.close  # type: ignore[attr-defined]  # kept until then: a reader that is dropped closes, too
    connection = socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 0))
    head = b"".join(name + b": " + value + b"\r\n" for name, value in request.headers.raw)
    connection.sendall(b"POST " + request.url.raw_path + b" HTTP/1.1\r\n" + head + b"\r\n" + request.read())
    return connection.close


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("wire", "asked"), WIRES)
def test_a_client_that_goes_frees_its_rows_within_two_steps(
    endless_server: Served, wire: str, asked: Any, stream: bool
) -> None:
    engine = endless_server.services.chat.engine
    asked = asked | {"stream": stream, "temperature": 1.0}
    asked |= {"max_output_tokens": 900} if wire == "responses" else {"max_tokens": 900, "n": 2}
    num_choices = asked.get("n", 1)
    for _ in range(20):  # of a slow client's tries, some come too early, or when the answer has ended
        before = engine.stats()
        leave = begun(endless_server, wire, asked)
        wait_until(lambda: engine.stats().num_steps >= before.num_steps + 3)  # noqa: B023  # asked within the round
        with held(engine):
            running = engine.stats().num_running
            leave()
            wait_until(lambda: endless_server.num_running == 0)  # the server has seen it
            steps = engine.stats().num_steps
        wait_until(lambda: engine.stats().num_rows == 0)
        if running == num_choices:
            break
    assert running == num_choices
    assert engine.stats().num_cancelled == before.num_cancelled + num_choices
    assert engine.stats().num_steps - steps <= 2


@pytest.mark.parametrize("stream", [True, False])
def test_a_full_queue_says_when_to_ask_again(tmp_path: Path, stream: bool) -> None:
    engine = Engine(tiny_model("llama"), Limits(max_rows=1, max_waiting=1))
    long = Request(reference=(1, 2), sampling=Sampling(max_tokens=1_500))
    with served(tmp_path, {"engine": engine, "max_tokens": 4}) as server, server.http(server.key("a")) as http:
        for wire, asked in WIRES:
            for _ in range(20):  # of a slow client's tries, some come when the long answer has ended
                running = engine.submit(long)
                wait_until(lambda: engine.stats().num_running == 1)
                waiting = engine.submit(long)
                answer = http.post(f"/v1/{wire}", json=asked | {"stream": stream})
                running.cancel()
                waiting.cancel()
                if answer.status_code != 200:
                    break
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "busy"
            assert int(answer.headers["retry-after"]) >= 1
            wait_until(lambda: engine.stats().num_rows == 0)
            assert http.post(f"/v1/{wire}", json=asked | {"stream": stream}).status_code == 200


@pytest.mark.parametrize("seed", [-1, -(2**63), 2**63 - 1, 10**30])
def test_any_whole_number_is_a_seed(client: openai.OpenAI, seed: int) -> None:
    asked: Any = {"model": "tiny-llama", "messages": MESSAGES, "seed": seed, "temperature": 1.0, "n": 2}
    texts = [[choice.message.content for choice in client.chat.completions.create(**asked).choices] for _ in range(2)]
    assert texts[0] == texts[1]
    assert texts[0][0] != texts[0][1]


@pytest.mark.parametrize(("wire", "asked"), WIRES)
def test_an_answer_can_be_rated_as_soon_as_its_end_is_there(tiny_server: Served, wire: str, asked: Any) -> None:
    user = f"rates {wire}"
    known = tiny_server.services.store.add(user, "Talk like a pirate.", scope="always")
    with (
        tiny_server.http(tiny_server.key(user)) as http,
        http.stream("POST", f"/v1/{wire}", json=asked | {"stream": True}) as answer,
        tiny_server.http(tiny_server.key(user)) as other,
    ):
        line = next(line for line in answer.iter_lines() if '"alignment":{' in line)
        body = json.loads(line.removeprefix("data: "))
        rated = other.post("/v1/feedback", json={"answer": body.get("response", body)["id"], "score": 1.0}).json()
    assert [each["id"] for each in rated["changed"]] == [known.id]
    assert rated["changed"][0]["weight"] > known.weight


def test_what_is_locked_cannot_be_left_out(tmp_path: Path) -> None:
    with PreferenceStore(path=tmp_path / "prefs") as store:
        locked = store.shared("house").add("Never swear.", scope="always", locked=True)
        other = store.shared("house").add("Talk like a sailor.", scope="always")
    with served(tmp_path, {"model": tiny_model("llama"), "max_tokens": 4}, layers=("house",)) as server:
        own = server.services.store.add("a", "Answer in French.", scope="always")
        options = {"without": [locked.id, other.id, own.id]}
        with server.http(server.key("a")) as http:
            asked = {"model": "tiny-llama", "messages": MESSAGES, "la_agents": options}
            report = http.post("/v1/chat/completions", json=asked).json()["la_agents"]["alignment"]
    assert [each["id"] for each in report["principles"]] == [locked.id]


def test_an_error_after_the_first_token_is_an_event(tmp_path: Path) -> None:
    with served(tmp_path, {"model": tiny_model("mistral")}) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key("alice"), max_retries=0)
        stream = client.chat.completions.create(
            model="tiny-mistral", messages=MESSAGES, max_tokens=1_500, stream=True, temperature=1.0, n=4
        )
        chunks = iter(stream)
        next(chunks)
        server.services.chat.engine.close()
        with pytest.raises(openai.APIError, match="closed"):
            list(chunks)


def test_an_answer_that_takes_too_long_has_its_status(tmp_path: Path) -> None:
    with (
        served(tmp_path, {"model": tiny_model("llama"), "timeout": 1e-4}) as server,
        server.http(server.key("a")) as http,
    ):
        for stream in (True, False):
            asked = {"model": "tiny-llama", "messages": MESSAGES, "max_tokens": 500, "stream": stream}
            answer = http.post("/v1/chat/completions", json=asked)
            assert answer.status_code == 504
            assert answer.json()["error"]["code"] == "timeout"


def test_what_is_said_through_a_key_that_learns_waits_for_approval(tiny_server: Served) -> None:
    said: Any = [{"role": "user", "content": "I'm allergic to peanuts. What can I cook?"}]
    for learns in (False, True):
        key = tiny_server.services.keys.add("personal", user="learner", learns=learns)[1]
        client = openai.OpenAI(base_url=f"{tiny_server.url}/v1", api_key=key)
        client.chat.completions.create(model="tiny-llama", messages=said)
        if not learns:
            assert tiny_server.services.store.proposals.list("learner") == []
    wait_until(lambda: bool(tiny_server.services.store.proposals.list("learner")))
    (proposal,) = tiny_server.services.store.proposals.list("learner")
    assert "peanuts" in proposal.text
    assert tiny_server.services.store.list("learner") == []


def test_what_was_said_before_an_erasure_is_not_learned_after_it(tiny_server: Served) -> None:
    key = tiny_server.services.keys.add("personal", user="erased", learns=True)[1]
    foods = ("peanuts", "milk", "eggs", "fish", "wheat", "soy")
    with tiny_server.http(key) as http:
        for food in foods:
            said = [{"role": "user", "content": f"I'm allergic to {food}. What can I cook?"}]
            asked = {"model": "tiny-llama", "messages": said, "max_tokens": 1}
            assert http.post("/v1/chat/completions", json=asked).status_code == 200
        http.delete("/v1/preferences")
    tiny_server.services.learner.submit([HumanMessage("Hello.")], user_id="erased").result()  # all before it is done
    assert tiny_server.services.store.proposals.list("erased") == []
