"""LangChain's cache under both faces: what counts as the same call, and what its keys must not hold."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel, create_model

from la_agents import ChatLinearAlignment, LinearAlignmentLLM, PreferenceStore, Principle
from la_agents.errors import ConfigurationError
from la_agents.models import load_model
from la_agents.models.fingerprint import fingerprint
from tests.tiny import save_tiny_model, tiny_model

Face = ChatLinearAlignment | LinearAlignmentLLM
FACES = [ChatLinearAlignment, LinearAlignmentLLM]
QUESTION = "What should I cook tonight?"
SECRET = "My secret word is swordfish."


@pytest.fixture
def cache() -> Iterator[InMemoryCache]:
    cache = InMemoryCache()
    set_llm_cache(cache)
    yield cache
    set_llm_cache(None)


def make(face: type[Face], **settings: Any) -> Face:
    return face(**{"model": tiny_model("llama"), "max_tokens": 6, **settings})


def user(name: str) -> Any:
    return {"configurable": {"user_id": name}}


def text_of(answer: AIMessage | str) -> str:
    return answer if isinstance(answer, str) else answer.text


def decoded(llm: Face) -> int:
    return llm.engine.stats().num_generated_tokens


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    "same",
    [
        {},
        {"stop": None},
        {"temperature": None, "principles": None, "user_id": None},
        {"temperature": 0, "max_tokens": 6},
        {"principles": ["Be kind."]},
        {"principles": [Principle("Be kind.")], "timeout": 100},
    ],
)
def test_a_call_that_says_the_same_is_found_again(face: type[Face], same: Any, cache: InMemoryCache) -> None:
    llm = make(face, principles=["Be kind."])
    first = text_of(llm.invoke(QUESTION))
    before = decoded(llm)
    assert text_of(llm.invoke(QUESTION, **same)) == first
    assert text_of(make(face, principles=["Be kind."]).bind(**same).invoke(QUESTION)) == first
    assert decoded(llm) == before


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    "other",
    [
        {"stop": ["x"]},
        {"seed": 1},
        {"strength": 0.0},
        {"principles": []},
        {"principles": [Principle("Be kind.", weight=0.5)]},
        {"user_id": "alice"},
        {"compose": "sum"},
        {"explain": True},
    ],
)
async def test_a_call_that_says_another_thing_is_not(face: type[Face], other: Any, cache: InMemoryCache) -> None:
    llm = make(face, principles=["Be kind."])
    llm.invoke(QUESTION)
    before = decoded(llm)
    llm.invoke(QUESTION, **other)
    assert decoded(llm) > before
    before = decoded(llm)
    await llm.ainvoke(QUESTION, **other)
    assert decoded(llm) == before


def test_formats_of_one_name_are_kept_apart(cache: InMemoryCache) -> None:
    llm = make(ChatLinearAlignment, max_tokens=60)
    for fields in ({"a": (bool, ...)}, {"b": (bool, ...)}):
        schema: type[BaseModel] = create_model("Answer", **fields)
        assert llm.with_structured_output(schema).invoke(QUESTION).model_dump().keys() == fields.keys()


async def test_a_batch_of_which_a_part_is_known(cache: InMemoryCache) -> None:
    fresh = make(LinearAlignmentLLM, cache=False, principles=["Be kind."])
    prompts = [f"{QUESTION} {n}" for n in range(6)]
    expected = [text_of(fresh.invoke(prompt)) for prompt in prompts]
    llm = make(LinearAlignmentLLM, principles=["Be kind."])
    llm.invoke(prompts[1])
    await llm.ainvoke(prompts[4])
    before = decoded(llm)
    assert llm.batch(prompts[:5]) == expected[:5]
    assert decoded(llm) - before <= 3 * 6
    assert await llm.abatch(prompts) == expected
    before = decoded(llm)
    assert [each[0].text for each in llm.generate(prompts).generations] == expected
    assert decoded(llm) == before


@pytest.mark.parametrize("face", FACES)
async def test_one_prompt_of_two_users_in_one_batch(face: type[Face], cache: InMemoryCache, tmp_path: Path) -> None:
    with PreferenceStore(tmp_path) as store:
        store.add("alice", "Always answer in French.", scope="always")
        store.add("bob", "Talk like a pirate!", scope="always")
        fresh = make(face, preferences=store, cache=False, strength=2.0)
        names = ["alice", "bob", "alice", "bob"]
        expected = [text_of(fresh.invoke(QUESTION, user(name))) for name in names]
        assert expected[0] != expected[1]
        llm = make(face, preferences=store, strength=2.0)
        for _ in range(2):
            assert [text_of(each) for each in llm.batch([QUESTION] * 4, [user(name) for name in names])] == expected
            assert [text_of(a) for a in await llm.abatch([QUESTION] * 4, [user(n) for n in names])] == expected


@pytest.mark.parametrize("face", FACES)
def test_keys_and_answers_hold_no_preference(face: type[Face], cache: InMemoryCache, tmp_path: Path) -> None:
    with PreferenceStore(tmp_path) as store:
        store.add("alice", SECRET, scope="always")
        make(face, preferences=store).invoke(QUESTION, user("alice"))
        make(face).invoke(QUESTION, principles=[SECRET])
        make(face, principles=[SECRET]).invoke(QUESTION)
    kept = repr(cache._cache)
    assert len(cache._cache) == 2, "the last two say the same"
    assert "swordfish" not in kept


@pytest.mark.parametrize("face", FACES)
async def test_traces_hold_no_preference_that_a_call_gave(face: type[Face]) -> None:
    llm = make(face)
    told = llm._get_invocation_params(principles=[SECRET]) if isinstance(llm, ChatLinearAlignment) else {}
    assert "swordfish" not in repr([told, make(face, principles=[SECRET])._identifying_params])


class _Listener(BaseCallbackHandler):
    """What a tracer is told about calls."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_llm_start(self, *args: Any, **kwargs: Any) -> None:
        self.told.append((args, kwargs))

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.told.append((args, kwargs))


@pytest.mark.parametrize("face", FACES)
async def test_tracers_are_not_told_the_principles_of_a_call(face: type[Face]) -> None:
    llm, listener = make(face), _Listener()
    asked: Any = {"config": {"callbacks": [listener]}, "principles": [SECRET]}
    plain = text_of(llm.invoke(QUESTION, **asked))
    assert text_of(await llm.ainvoke(QUESTION, **asked)) == plain
    assert "".join(text_of(piece) for piece in llm.stream(QUESTION, **asked)) == plain
    assert "".join([text_of(piece) async for piece in llm.astream(QUESTION, **asked)]) == plain
    assert len(listener.told) == 4
    assert "swordfish" not in repr(listener.told) + json.dumps(listener.told, default=repr)


@pytest.mark.parametrize("face", FACES)
def test_folders_of_one_name_are_two_models(face: type[Face], cache: InMemoryCache, tmp_path: Path) -> None:
    answers = []
    for family, place in (("llama", "a"), ("qwen2", "b")):
        folder = save_tiny_model(family, tmp_path / place / "model")
        answers.append(text_of(make(face, model=str(folder)).invoke(QUESTION)))
        assert answers[-1] == text_of(make(face, model=load_model(folder), cache=False).invoke(QUESTION))
    assert len(set(answers)) == 2


@pytest.mark.parametrize("what", ["weights", "one weight", "template"])
def test_a_folder_that_was_written_anew_is_another_model(cache: InMemoryCache, tmp_path: Path, what: str) -> None:
    folder = save_tiny_model("llama", tmp_path / "model")
    held = make(ChatLinearAlignment, model=str(folder))
    before = held.invoke(QUESTION).text
    loaded = dataclasses.replace(load_model(folder))
    known = fingerprint(loaded)
    if what == "weights":
        shutil.rmtree(folder)
        save_tiny_model("qwen2", folder)
    else:
        # Never the shared tiny model itself: what is written is a copy that was read from the folder.
        if what == "one weight":
            copy = load_model(shutil.copytree(folder, tmp_path / "copy"))
            with torch.no_grad():
                copy.model.get_input_embeddings().weight[17, 3] += 0.25
            copy.model.save_pretrained(folder)
        else:
            template = folder / "chat_template.jinja"
            template.write_text(template.read_text().replace("helpful", "unhelpful"))
    now = make(ChatLinearAlignment, model=str(folder))
    assert fingerprint(now.engine.loaded) != known
    if what == "weights":
        assert (
            now.invoke(QUESTION).text == make(ChatLinearAlignment, model=str(folder), cache=False).invoke(QUESTION).text
        )
    assert held.invoke(QUESTION).text == before, "what was loaded goes on as it is"


def test_the_same_files_have_the_same_fingerprint_anywhere(tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "one")
    prints = {fingerprint(load_model(shutil.copytree(folder, tmp_path / name))) for name in ("two", "three")}
    assert prints == {fingerprint(load_model(folder))}


def test_a_cache_that_is_asked_for_and_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="set_llm_cache"):
        make(LinearAlignmentLLM, cache=True).invoke(QUESTION)
    own = InMemoryCache()
    llm = make(LinearAlignmentLLM, cache=own)
    assert llm.invoke(QUESTION) == llm.invoke(QUESTION)
    assert len(own._cache) == 1


def test_messages_that_differ_in_who_speaks_are_kept_apart(cache: InMemoryCache) -> None:
    llm = make(ChatLinearAlignment)
    answers = {name: llm.invoke([HumanMessage("Hello", name=name)]).text for name in ("Ann", "Bob")}
    assert len(set(answers.values())) == 2
