"""Faces on an engine that was given to them: they need what the protocol names, and nothing else."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache

from la_agents import ChatLinearAlignment, LinearAlignmentLLM, PreferenceStore
from la_agents.engine.engine import Engine
from la_agents.engine.scheduler import Limits
from la_agents.errors import ConfigurationError, EngineClosedError
from la_agents.models import DEFAULT_MODEL, load_model
from la_agents.requests import Engine as EngineProtocol
from tests.queue_engine import QueueEngine
from tests.tiny import save_tiny_model, tiny_model

Face = ChatLinearAlignment | LinearAlignmentLLM
FACES = [ChatLinearAlignment, LinearAlignmentLLM]
QUESTION = "What should I cook tonight?"
SETTINGS: dict[str, Any] = {"max_tokens": 6, "principles": ["Be kind."], "temperature": 1.0, "seed": 3}


@pytest.fixture(scope="module")
def queued() -> Iterator[QueueEngine]:
    with Engine(tiny_model("qwen2")) as inner:
        engine = QueueEngine(inner)
        yield engine
        engine.stop()


def text_of(answer: Any) -> str:
    return answer if isinstance(answer, str) else answer.text


@pytest.mark.parametrize("face", FACES)
def test_answers_are_those_of_the_model(face: type[Face], queued: QueueEngine) -> None:
    given, own = face(engine=queued, **SETTINGS), face(model=tiny_model("qwen2"), **SETTINGS)
    questions = [f"{QUESTION} {number}" for number in range(5)]
    expected = [text_of(own.invoke(question)) for question in questions]
    assert [text_of(given.invoke(question)) for question in questions] == expected
    assert [text_of(answer) for answer in given.batch(questions)] == expected
    assert ["".join(map(text_of, given.stream(question))) for question in questions] == expected

    async def in_tasks() -> list[str]:
        return [text_of(answer) for answer in await given.abatch(questions)]

    assert asyncio.run(in_tasks()) == expected
    assert given.engine is queued
    assert given.render(QUESTION) == own.render(QUESTION)
    assert given.get_num_tokens(QUESTION) == own.get_num_tokens(QUESTION)


@pytest.mark.parametrize("face", FACES)
def test_what_is_shown_names_the_engine_that_answers(face: type[Face], queued: QueueEngine) -> None:
    shown = [repr(face(engine=queued)), repr(face(engine=queued).model_copy(update={"max_tokens": 3}))]
    for text in shown:
        assert "model='queued tiny-qwen2'" in text
        assert DEFAULT_MODEL not in text
        assert "device=" not in text
    assert f"model='{DEFAULT_MODEL}'" in repr(face())


def test_reports_tools_and_schemas_work(queued: QueueEngine) -> None:
    llm = ChatLinearAlignment(engine=queued, **{**SETTINGS, "max_tokens": 200})
    answer = llm.invoke(QUESTION, explain=True, max_tokens=6)
    assert answer.response_metadata["model_name"] == "queued tiny-qwen2" == llm.model_name
    assert len(answer.response_metadata["alignment"]["tokens"]) == 6
    assert llm.profile is not None
    assert llm.profile["max_input_tokens"] == queued.context

    def weather(city: str) -> str:
        """The weather in a city."""
        return city

    (call,) = llm.bind_tools([weather], tool_choice="any", parallel_tool_calls=False).invoke(QUESTION).tool_calls
    assert (call["name"], call["args"].keys()) == ("weather", {"city"})
    schema = {"title": "Age", "type": "object", "properties": {"age": {"type": "boolean"}}, "required": ["age"]}
    assert llm.with_structured_output(schema).invoke(QUESTION)["age"] in (True, False)


@pytest.mark.parametrize("face", FACES)
def test_users_get_their_own_principles(face: type[Face], queued: QueueEngine, tmp_path: Path) -> None:
    with PreferenceStore(tmp_path) as store:
        store.add("alice", "Always answer in French.", scope="always")
        llm = face(engine=queued, preferences=store, max_principle_tokens=100, max_tokens=4)
        assert "French" in str(llm.render(QUESTION, user_id="alice").principle_prompts)
        assert llm.render(QUESTION, user_id="bob").principle_prompts == []


@pytest.mark.parametrize("face", FACES)
def test_a_cache_keeps_engines_apart_that_do_not_say_which_model_they_run(face: type[Face]) -> None:
    cache, settings = InMemoryCache(), {**SETTINGS, "seed": None, "temperature": 0.0}
    with Engine(tiny_model("qwen2")) as first, Engine(tiny_model("llama")) as second:
        engines = [QueueEngine(inner, "one name") for inner in (first, second)]
        llms = [face(engine=engine, cache=cache, **settings) for engine in engines]
        answers = [text_of(llm.invoke(QUESTION)) for llm in llms]
        assert len(cache._cache) == 2
        assert [text_of(llm.invoke(QUESTION)) for llm in llms] == answers
        assert len(cache._cache) == 2
        for engine in engines:
            engine.stop()


@pytest.mark.parametrize("face", FACES)
def test_an_engine_of_this_process_has_its_models_cache_keys(face: type[Face]) -> None:
    cache = InMemoryCache()
    with Engine(tiny_model("llama"), Limits(max_rows=8)) as engine:
        answer = face(engine=engine, cache=cache, **SETTINGS).invoke(QUESTION)
        assert text_of(face(model=tiny_model("llama"), cache=cache, **SETTINGS).invoke(QUESTION)) == text_of(answer)
        assert len(cache._cache) == 1


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda face: face.model_copy(deep=True)])
def test_copies_share_the_engine(face: type[Face], copied: Any, queued: QueueEngine) -> None:
    llm = face(engine=queued, **SETTINGS)
    assert copied(llm).engine is queued
    assert text_of(copied(llm).invoke(QUESTION)) == text_of(llm.invoke(QUESTION))
    assert "engine" not in repr(llm)
    assert llm.bind(seed=4).bound is llm


@pytest.mark.parametrize("face", FACES)
def test_an_engine_of_this_process_can_be_pickled_and_is_made_again(face: type[Face], tmp_path: Path) -> None:
    loaded = load_model(save_tiny_model("llama", tmp_path / "model"))
    with Engine(loaded, Limits(max_rows=8, max_positions=100), prefix_cache_bytes=0) as engine:
        llm = face(engine=engine, **SETTINGS)
        again = pickle.loads(pickle.dumps(llm))
        assert text_of(again.invoke(QUESTION)) == text_of(llm.invoke(QUESTION))
        assert again.engine is not engine
        assert again.engine.limits == engine.limits
        again.engine.close()


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    "beside",
    [{"model": "smollm2"}, {"device": "cpu"}, {"dtype": "float32"}, {"quantize": None}, {"end_token_ids": [1]}],
    ids=str,
)
def test_what_the_engine_has_decided_is_refused_beside_it(
    face: type[Face], beside: dict[str, Any], queued: QueueEngine
) -> None:
    (name,) = beside
    with pytest.raises(ConfigurationError, match=f"Expected no {name} beside an engine"):
        face(engine=queued, **beside)
    with pytest.raises(ConfigurationError, match=f"Expected no {name} beside an engine"):
        face(engine=queued).model_copy(update=beside).invoke(QUESTION)
    with pytest.raises(ConfigurationError, match="Expected no model beside an engine"):
        face(engine=queued).invoke(QUESTION, model="/no/such/model")


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("value", ["smollm2", 3, object(), tiny_model("llama")])
def test_what_is_no_engine_is_refused(face: type[Face], value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Expected engine to have name, tokenizer, context and submit"):
        face(engine=value)


@pytest.mark.parametrize("face", FACES)
def test_a_given_engine_that_is_closed_is_not_replaced(face: type[Face]) -> None:
    with Engine(tiny_model("llama")) as engine:
        llm = face(engine=engine, **SETTINGS)
        llm.invoke(QUESTION)
    with pytest.raises(EngineClosedError):
        llm.invoke(QUESTION)


def test_the_environment_names_no_model_beside_an_engine(queued: QueueEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LA_AGENTS_MODEL", "/no/such/model")
    monkeypatch.setenv("LA_AGENTS_DEVICE", "no such device")
    assert text_of(ChatLinearAlignment(engine=queued, max_tokens=3).invoke(QUESTION)) is not None
    assert isinstance(queued, EngineProtocol)
