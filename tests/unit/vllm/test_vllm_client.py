"""VllmEngine: it keeps to what the faces rely on, answers as the local engine does, and says what is wrong."""

from __future__ import annotations

import copy
import json
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from la_agents import ChatLinearAlignment
from la_agents.engine.engine import Engine
from la_agents.engine.repetition import is_loop
from la_agents.engine_tests import EngineTests, read, tokens
from la_agents.errors import (
    ConfigurationError,
    DeadlineExceededError,
    EngineBusyError,
    EngineClosedError,
    GenerationError,
    IncompleteAnswerError,
    LaAgentsError,
)
from la_agents.requests import Alignment, Generation, Grammar, Request, TokenRecord
from la_agents.vllm import VllmEngine
from la_agents.vllm.answer import Answer
from tests.tiny import pristine_model, save_tiny_model, tiny_model
from tests.vllm_stand_in import NAME, StandIn


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model("qwen2", tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[StandIn]:
    with StandIn(pristine_model("qwen2"), folder) as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh(server: StandIn) -> None:
    server.answers.clear()
    server.bodies.clear()
    server.instead.clear()
    server.pause = 0.0


@pytest.fixture(scope="module")
def client(server: StandIn) -> Iterator[VllmEngine]:
    with VllmEngine(server.url, NAME) as engine:
        yield engine


@pytest.fixture(scope="module")
def local() -> Iterator[Engine]:
    with Engine(tiny_model("qwen2")) as engine:
        yield engine


class TestVllmEngine(EngineTests):
    @pytest.fixture
    def engine(self, client: VllmEngine) -> VllmEngine:  # type: ignore[override]
        return client


# -- the same answers as here ------------------------------------------------------------------------------------------

GRAMMAR = Grammar.json_schema({"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"alignment": Alignment(method="linear", strength=2.0)},
        {"alignment": Alignment(push="adaptive", fluency=0.1, max_divergence=0.3)},
        {"alignment": Alignment(support="all", strength=4.0)},
        {"list_candidates": True},
        {"grammar": GRAMMAR},
        {"grammar": replace(GRAMMAR, aligned=True)},
        {"grammar": Grammar.lark('start: /(.|\\n){0,9}/ "<" /[ab]{3}/', trigger="<")},
    ],
    ids=str,
)
@pytest.mark.parametrize("num_branches", [0, 2])
def test_answers_are_the_local_engines(
    client: VllmEngine, local: Engine, num_branches: int, changes: dict[str, Any]
) -> None:
    request = EngineTests.request(local, num_branches=num_branches, max_tokens=24, **changes)
    here, there = local.submit(request).completion, client.submit(request).completion
    assert tokens(there) == tokens(here)
    assert there.finish_reason == here.finish_reason
    if request.grammar is not None:  # the end of its text may be written here, and nobody is asked about its tokens
        return
    for a, b in zip(there.records, here.records, strict=True):
        assert a.reference_id == b.reference_id
        assert [a.divergence, a.scale, *a.contributions] == pytest.approx(
            [b.divergence, b.scale, *b.contributions], abs=1e-3, rel=1e-3
        )
        assert [c.token_id for c in a.candidates] == [c.token_id for c in b.candidates]


def test_a_grammars_text_is_complete_before_max_tokens(client: VllmEngine, local: Engine) -> None:
    grammar = Grammar.json_schema({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]})
    for max_tokens in (12, 20):
        request = EngineTests.request(local, num_branches=1, max_tokens=max_tokens, grammar=grammar)
        completion = client.submit(request).completion
        assert tokens(completion) == tokens(local.submit(request).completion)
        assert len(completion.records) <= max_tokens
        assert set(json.loads(read(client.submit(request)))) == {"name"}


def test_a_grammar_without_an_end_in_sight_fails(client: VllmEngine) -> None:
    request = EngineTests.request(client, grammar=Grammar.regex("[a-z]{200}"), max_tokens=2)
    with pytest.raises((ConfigurationError, IncompleteAnswerError)):
        read(client.submit(request))


def test_the_faces_and_their_report_work_on_it(client: VllmEngine) -> None:
    llm = ChatLinearAlignment(engine=client, principles=["Be brief.", "Be kind."], compose="sum", max_tokens=6)
    answer = llm.invoke("Hello?")
    report = answer.response_metadata["alignment"]
    assert answer.response_metadata["model_name"] == NAME
    assert report["num_tokens"] == 6
    assert report["rows"] == 3
    assert "".join(str(chunk.content) for chunk in llm.stream("Hello?")) == answer.content
    assert [a.content for a in llm.batch(["Hello?"] * 5)] == [answer.content] * 5


# -- the wire ----------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_that_tells_whose_request_it_is(client: VllmEngine, server: StandIn) -> None:
    request = EngineTests.request(client, num_branches=1)
    for salt in ("alice", "alice", "bob", None, None, ""):
        read(client.submit(replace(request, salt=salt)))
    salts = [body.get("cache_salt") for body in server.bodies]
    assert salts[0] == salts[1] != salts[2]
    assert len({*salts[:5]}) == 4, "those who are not known find nothing, not even their own"
    assert salts[5] is None
    assert "alice" not in json.dumps(server.bodies)


def test_what_is_not_aligned_decodes_one_row(client: VllmEngine, server: StandIn) -> None:
    read(client.submit(EngineTests.request(client, num_branches=2, grammar=GRAMMAR, max_tokens=24)))
    read(
        client.submit(
            EngineTests.request(client, num_branches=2, grammar=replace(GRAMMAR, aligned=True), max_tokens=24)
        )
    )
    assert [len(body["vllm_xargs"]["la_lengths"]) for body in server.bodies] == [0, 2]


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failures", [[503], ["cut"], ["empty"], [429, 502], ["cut", 503], ["empty", "cut"]], ids=str)
def test_before_its_first_token_a_request_is_sent_again(
    client: VllmEngine, server: StandIn, failures: list[int | str]
) -> None:
    request = EngineTests.request(client, num_branches=1)
    expected = read(client.submit(request))
    server.answers[:] = failures
    assert read(client.submit(request)) == expected


@pytest.mark.parametrize("failure", ["cut late", "abort"])
def test_after_its_first_token_it_is_not(client: VllmEngine, server: StandIn, failure: str) -> None:
    server.answers[:] = [failure]
    generation = client.submit(EngineTests.request(client))
    with pytest.raises(GenerationError):
        read(generation)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ConfigurationError),
        (401, ConfigurationError),
        (404, ConfigurationError),
        (413, LaAgentsError),
        (500, GenerationError),
        (503, EngineBusyError),
    ],
)
def test_refusals_have_their_errors_and_repeat_no_prompt(
    client: VllmEngine, server: StandIn, status: int, error: type[Exception]
) -> None:
    server.answers[:] = [status] * 3
    with pytest.raises(error) as refused:
        read(client.submit(EngineTests.request(client)))
    assert "HIV" not in str(refused.value)
    assert str(refused.value).startswith("Expected ")
    server.answers.clear()
    assert client.submit(EngineTests.request(client)).completion.records


@pytest.mark.parametrize("ending", ["cancel", "timeout", "drop"])
def test_what_nobody_waits_for_closes_its_connection(client: VllmEngine, server: StandIn, ending: str) -> None:
    server.pause = 0.01
    timeout = 0.3 if ending == "timeout" else None
    request = EngineTests.request(client, num_branches=1, temperature=1.0, max_tokens=400, timeout=timeout)
    request = replace(request, grammar=Grammar.regex("(xq){190}"))
    if ending == "drop":
        with VllmEngine(server.url, NAME) as engine:
            generation = engine.submit(request)
            next(iter(generation))
        with pytest.raises(EngineClosedError):
            read(generation)
    else:
        generation = client.submit(request)
        next(iter(generation))
        if ending == "cancel":
            generation.cancel()
        with pytest.raises(LaAgentsError) if ending == "timeout" else _nothing():
            read(generation)
    _until(lambda: server.num_under_way == 0)


def _until(is_so: Callable[[], bool]) -> None:
    assert any(is_so() or time.sleep(0.01) for _ in range(500))


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def test_too_many_at_once_are_refused(server: StandIn) -> None:
    server.pause = 0.05
    with VllmEngine(server.url, NAME, max_under_way=2) as engine:
        request = EngineTests.request(engine, max_tokens=40)
        under_way = [engine.submit(request) for _ in range(2)]
        with pytest.raises(EngineBusyError, match="max_under_way"):
            engine.submit(request)
        for generation in under_way:
            generation.cancel()
            assert generation.completion.finish_reason in ("cancelled", "stop", "length")
        assert engine.submit(replace(request, timeout=30)).completion.records


def test_a_batch_of_more_than_may_be_under_way_waits_for_room(server: StandIn) -> None:
    with VllmEngine(server.url, NAME, max_under_way=2) as engine:
        llm = ChatLinearAlignment(engine=engine, principles=["Be brief."], max_tokens=3)
        (expected,) = {answer.content for answer in llm.batch(["Hello?"] * 9)}
        assert llm.invoke("Hello?").content == expected


def test_what_ended_leaves_its_place(server: StandIn) -> None:
    with VllmEngine(server.url, NAME, max_under_way=1) as engine:
        request = EngineTests.request(engine, max_tokens=2)
        for failure in (400, 500, "cut late", "abort", None):
            server.answers[:] = [] if failure is None else [failure]
            with _nothing() if failure is None else pytest.raises(LaAgentsError):
                read(engine.submit(request))
            _until(lambda: server.num_under_way == 0)


@pytest.mark.parametrize("is_guarded", [True, False])
def test_an_answer_that_only_repeats_itself_ends_where_its_loop_is_seen(client: VllmEngine, is_guarded: bool) -> None:
    request = EngineTests.request(client, max_tokens=400, stop_repetition=is_guarded)
    answer = Answer(request, Generation(lambda: None), client.server, None, 400)
    loop = client.tokenizer.encode("the sea, ", add_special_tokens=False)
    reason = None
    while reason is None:
        reason = answer.extend(TokenRecord(loop[len(answer.records) % len(loop)], 0, 0.0, 0.0, ()))
    assert reason == ("repetition" if is_guarded else "length")
    assert is_loop(answer.records, client.tokenizer.decode)
    assert is_loop(answer.records[:-1], client.tokenizer.decode) != is_guarded


def test_a_closed_engine_says_so_and_asks_nobody() -> None:
    engine = VllmEngine("http://127.0.0.1:9", NAME)
    engine.close()
    with pytest.raises(EngineClosedError):
        engine.submit(Request(reference=(1, 2)))


@pytest.mark.parametrize("what", ["short prompt", "branches"])
def test_what_the_server_would_not_take_is_refused_here(client: VllmEngine, server: StandIn, what: str) -> None:
    request = EngineTests.request(client, num_branches=1)
    if what == "short prompt":
        request = replace(request, reference=request.reference[:1])
    else:
        request = replace(request, branches=request.branches * 5, weights=(1.0,) * 5)
    with pytest.raises(ConfigurationError, match=what.split()[-1]):
        client.submit(request)
    assert server.bodies == []


@pytest.mark.parametrize("token", [1.0, True, "7", None, np.int64(7)], ids=repr)
@pytest.mark.parametrize("where", [0, 1])
def test_token_ids_of_another_kind_are_refused_here(
    client: VllmEngine, server: StandIn, token: Any, where: int
) -> None:
    prompts: list[tuple[Any, ...]] = [(1, 2, 3), (1, 2, 3)]
    prompts[where] = (1, token, 3)
    with pytest.raises(ConfigurationError, match=f"integers, got {type(token).__name__}"):
        client.submit(Request(reference=prompts[0], branches=(prompts[1],), weights=(1.0,)))
    assert server.bodies == []


@pytest.mark.parametrize("failures", [[503] * 3, ["empty"] * 3], ids=str)
def test_a_deadline_and_a_cancel_hold_between_two_tries(
    client: VllmEngine, server: StandIn, monkeypatch: pytest.MonkeyPatch, failures: list[int | str]
) -> None:
    monkeypatch.setattr("la_agents.vllm.engine._PAUSE", 60.0)
    server.answers[:] = failures
    with pytest.raises(DeadlineExceededError):
        read(client.submit(EngineTests.request(client, timeout=0.1)))
    server.answers[:] = failures
    generation = client.submit(EngineTests.request(client))
    _until(lambda: len(server.answers) == 2)
    generation.cancel()
    assert generation.completion.finish_reason == "cancelled"


# -- the server --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "without; install it"),
        ({"protocol": 2}, "protocol 1"),
        ({"records": False}, "--logprobs-mode processed_logits"),
    ],
)
def test_a_server_that_cannot_be_used_is_refused_before_any_request(
    folder: Path, change: dict[str, Any] | None, message: str
) -> None:
    with StandIn(pristine_model("qwen2"), folder) as other, VllmEngine(other.url, NAME) as engine:
        other.about = None if change is None else {**(other.about or {}), **change}
        with pytest.raises(ConfigurationError, match=message):
            ChatLinearAlignment(engine=engine).invoke("Hello?")
        assert other.bodies == []


def test_grammars_need_a_server_that_follows_them(folder: Path) -> None:
    with StandIn(pristine_model("qwen2"), folder) as other, VllmEngine(other.url, NAME) as engine:
        assert other.about is not None
        other.about["grammars"] = False
        with pytest.raises(ConfigurationError, match="backend guidance"):
            engine.submit(EngineTests.request(engine, grammar=GRAMMAR))
        assert engine.submit(EngineTests.request(engine)).completion.records


def test_another_model_or_key_or_tokenizer_is_named(folder: Path, tmp_path: Path, server: StandIn) -> None:
    with pytest.raises(ConfigurationError, match=NAME):
        _ = VllmEngine(server.url, "other-aligned").context
    with pytest.raises(ConfigurationError, match="ends in '-aligned'"):
        _ = VllmEngine(server.url, "tiny").context
    with pytest.raises(ConfigurationError, match="tokenizer"):
        _ = VllmEngine(server.url, NAME, tokenizer=str(save_tiny_model("gemma", tmp_path))).context
    with StandIn(pristine_model("qwen2"), folder, api_key="secret") as other:
        with pytest.raises(ConfigurationError, match="api_key"):
            _ = VllmEngine(other.url, NAME).context
        with VllmEngine(other.url + "/v1", NAME, "secret") as engine:
            assert engine.submit(EngineTests.request(engine)).completion.records


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/models", []),
        ("/v1/models", {"data": None}),
        ("/v1/models", {"data": [{"name": NAME}]}),
        ("/v1/models", {"data": [{"id": NAME}]}),
        ("/v1/models", {"data": [{"id": NAME, "max_model_len": None}]}),
    ],
)
def test_what_another_kind_of_server_says_is_one_error(server: StandIn, path: str, answer: Any) -> None:
    server.instead[path] = answer
    with VllmEngine(server.url, NAME) as engine, pytest.raises(ConfigurationError, match="another form"):
        _ = engine.context


@pytest.mark.parametrize("answer", [[], {}, {"tokens": None}, "no"])
def test_a_router_need_not_tell_the_tokenizer(server: StandIn, answer: Any) -> None:
    server.instead["/tokenize"] = answer
    with VllmEngine(server.url, NAME) as engine:
        assert engine.context == server.context


def test_nobody_there_is_one_error_that_repeats_no_password(folder: Path) -> None:
    with StandIn(pristine_model("qwen2"), folder) as other:
        url = other.url.replace("//", "//alice:secret@")
    with pytest.raises(GenerationError, match="is it up") as error:
        _ = VllmEngine(url, NAME).context
    assert "secret" not in str(error.value)


def test_a_server_that_comes_back_is_used_again(folder: Path) -> None:
    with StandIn(pristine_model("qwen2"), folder) as first, VllmEngine(first.url, NAME) as engine:
        request = EngineTests.request(engine, num_branches=1)
        expected = read(engine.submit(request))
        first.__exit__(None, None, None)
        with pytest.raises(GenerationError, match="is it up"):
            read(engine.submit(request))
        with StandIn(pristine_model("qwen2"), folder, port=first.port):
            assert read(engine.submit(request)) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        *({"base_url": url} for url in ("", "gpu:8000", "vllm+http://gpu:8000", "http://", "http://gpu:port", None, 8)),
        *({"model": model} for model in ("", "tiny", None, 3)),
        *({"api_key": key} for key in ("secret\n", "clé", b"secret", 5)),
        *({"max_under_way": most} for most in (0, -1, True, 2.5, "8", None)),
        *({"end_token_ids": ends} for ends in ("7", [-1], [1.0], 7, ["7"])),
    ],
    ids=str,
)
def test_what_is_no_server_is_refused_when_it_is_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"^Expected ") as refused:
        VllmEngine(**{"base_url": "http://gpu:8000", "model": NAME, **arguments})
    assert "secret" not in str(refused.value)


def test_making_one_asks_nothing_and_it_can_be_sent_elsewhere(client: VllmEngine) -> None:
    VllmEngine("http://127.0.0.1:9", NAME).close()
    for other in (pickle.loads(pickle.dumps(client)), copy.deepcopy(client)):
        assert other.context == client.context
        other.close()
        with pytest.raises(EngineClosedError):
            other.submit(Request(reference=(1, 2)))
    assert client.submit(EngineTests.request(client)).completion.records
