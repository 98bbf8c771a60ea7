"""Faces that are copied, changed, pickled, sent to another process, serialised, or left with a closed engine."""

from __future__ import annotations

import copy
import json
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import pytest
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate, HumanMessagePromptTemplate, PromptTemplate
from langchain_core.runnables import RunnableSequence

from la_agents import ChatLinearAlignment, LinearAlignmentLLM, PreferenceStore, Principle
from la_agents.errors import ConfigurationError, ModelNotFoundError
from la_agents.models import load_model
from la_agents.prompts.builder import Wording
from tests.tiny import save_tiny_model, tiny_model

Face = ChatLinearAlignment | LinearAlignmentLLM
FACES = [ChatLinearAlignment, LinearAlignmentLLM]
QUESTION = "What should I cook tonight?"


def make(face: type[Face], **settings: Any) -> Face:
    return face(**{"model": tiny_model("llama"), "max_tokens": 6, "principles": ["Be kind."], **settings})


def text_of(answer: AIMessage | str) -> str:
    return answer if isinstance(answer, str) else answer.text


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda face: face.model_copy(),
    "model_copy, deep": lambda face: face.model_copy(deep=True),
    "pickle": lambda face: pickle.loads(pickle.dumps(face)),
}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("named", ["folder", "loaded folder", "model"])
def test_a_copy_answers_as_the_original(face: type[Face], way: str, loaded: bool, named: str, tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "model")
    model: Any = {"folder": str(folder), "loaded folder": load_model(folder), "model": tiny_model("llama")}[named]
    llm = make(face, model=model, wording=Wording(one="Please: {principle}"), stop=["x"])
    expected = text_of(make(face, model=model, wording=Wording(one="Please: {principle}"), stop=["x"]).invoke(QUESTION))
    if loaded:
        llm.load()
    copied = COPIES[way](llm)
    assert text_of(copied.invoke(QUESTION)) == expected
    assert text_of(llm.invoke(QUESTION)) == expected
    if way != "pickle":
        assert copied.engine is llm.engine


@pytest.mark.parametrize("face", FACES)
def test_a_bound_model_and_a_chain_can_be_copied(face: type[Face]) -> None:
    bound = make(face).bind(max_tokens=3)
    assert text_of(pickle.loads(pickle.dumps(bound)).invoke(QUESTION)) == text_of(bound.invoke(QUESTION))
    assert text_of(copy.deepcopy(bound).invoke(QUESTION)) == text_of(bound.invoke(QUESTION))


def answer_there(pickled: bytes, answers: Any) -> None:
    answers.put([text_of(llm.invoke(QUESTION)) for llm in pickle.loads(pickled)])


def test_a_spawned_process_loads_again(tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "model")
    llms = [make(face, model=model) for face in FACES for model in (str(folder), load_model(folder))]
    here = [text_of(llm.invoke(QUESTION)) for llm in llms]
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(target=answer_there, args=(pickle.dumps(llms), answers))
    child.start()
    there = answers.get(timeout=240)
    child.join(60)
    assert there == here
    assert child.exitcode == 0


@pytest.mark.parametrize("way", [name for name in COPIES if name != "pickle"])
def test_a_copy_shares_its_store(tmp_path: Path, way: str) -> None:
    with PreferenceStore(tmp_path) as store:
        kept = store.add("alice", "Answer in French.", scope="always")
        copied = COPIES[way](make(ChatLinearAlignment, preferences=store, user_id="alice"))
        assert copied.preferences is store
        assert copied.invoke(QUESTION).response_metadata["alignment"]["principles"][1]["id"] == kept.id


def test_a_pickled_store_opens_the_same_folder(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path, layers=["house"]) as store:
        kept = store.add("alice", "Answer in French.", scope="always")
        store.shared("house").add("Be polite.", scope="always")
        llm = pickle.loads(pickle.dumps(make(ChatLinearAlignment, preferences=store, user_id="alice")))
        assert llm.preferences is not store
        found = llm.invoke(QUESTION).response_metadata["alignment"]["principles"]
        assert {kept.id} < {each["id"] for each in found}
        assert {each["layer"] for each in found} == {"call", "house", "user"}
        llm.preferences.close()


def test_a_store_on_a_client_of_ones_own_says_what_to_do(tmp_path: Path) -> None:
    import chromadb

    with PreferenceStore(client=chromadb.PersistentClient(str(tmp_path))) as store:
        with pytest.raises(ConfigurationError, match=r"path.*url"):
            pickle.dumps(store)
        assert copy.deepcopy(store) is store


# -- settings that change ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("how", ["model_copy", "assignment"])
def test_settings_that_change_after_loading_count(face: type[Face], how: str, tmp_path: Path) -> None:
    other = save_tiny_model("qwen2", tmp_path / "other")
    changes: list[dict[str, Any]] = [
        {"model": str(other)},
        {"model": tiny_model("qwen2")},
        {"placement": "user"},
        {"wording": Wording(one="Please: {principle}")},
        {"max_tokens": 2},
        {"principles": ["Be brief."]},
        {"end_token_ids": [5]},
    ]
    base = {"model": str(save_tiny_model("llama", tmp_path / "model"))}
    for change in changes:
        llm = make(face, **base)
        llm.load()
        if how == "model_copy":
            llm = llm.model_copy(update=change)
        else:
            for name, value in change.items():
                setattr(llm, name, value)
        expected = make(face, **{**base, **change})
        assert text_of(llm.invoke(QUESTION)) == text_of(expected.invoke(QUESTION)), change
        assert llm.engine is expected.engine
        if isinstance(llm, ChatLinearAlignment):
            assert llm._serialized == expected._serialized


@pytest.mark.parametrize("face", FACES)
def test_a_model_that_is_not_there_is_not_answered_by_the_old_one(face: type[Face]) -> None:
    llm = make(face)
    before = text_of(llm.invoke(QUESTION))
    with pytest.raises(ModelNotFoundError):
        llm.model_copy(update={"model": "/no/such"}).invoke(QUESTION)
    with pytest.raises(ModelNotFoundError):
        llm.invoke(QUESTION, model="/no/such")
    with pytest.raises(ConfigurationError, match="device"):
        llm.model_copy(update={"device": "cpu"}).invoke(QUESTION)
    with pytest.raises(ConfigurationError, match="temperature"):
        llm.model_copy(update={"temperature": None}).invoke(QUESTION)
    assert text_of(llm.invoke(QUESTION)) == before


@pytest.mark.parametrize("face", FACES)
async def test_a_call_may_name_another_model(face: type[Face]) -> None:
    llm, other = make(face), make(face, model=tiny_model("qwen2"))
    own, expected = text_of(llm.invoke(QUESTION)), text_of(other.invoke(QUESTION))
    assert own != expected
    for _ in range(2):
        assert text_of(llm.invoke(QUESTION, model=tiny_model("qwen2"))) == expected
        assert text_of(await llm.bind(model=tiny_model("qwen2")).ainvoke(QUESTION)) == expected
        assert text_of(llm.invoke(QUESTION)) == own


@pytest.mark.parametrize("face", FACES)
def test_after_its_engine_was_closed_a_face_gets_a_fresh_one(face: type[Face]) -> None:
    llm = make(face, model=tiny_model.__wrapped__("llama"))
    copied = llm.model_copy()
    before = text_of(llm.invoke(QUESTION))
    for _ in range(2):
        llm.engine.close()
        assert text_of(llm.invoke(QUESTION)) == before
        assert text_of(copied.invoke(QUESTION)) == before
    assert copied.engine is llm.engine


# -- LangChain's own serialisation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"principles": ["Be kind.", Principle("Be brief.", weight=0.5), Principle("Rhyme.", id="a", layer="house")]},
        {"wording": Wording(one="Please: {principle}"), "template_variables": {"a": [1, None, "x"]}},
        {"stop": "x", "seed": 3, "temperature": 0.5, "compose": "sum", "user_id": "alice"},
    ],
)
def test_langchain_writes_and_reads_it(face: type[Face], settings: Any, tmp_path: Path) -> None:
    llm = face(model=tmp_path / "model", **settings)
    written = dumps(llm)
    read = load(json.loads(written), valid_namespaces=["la_agents"], allowed_objects=[*FACES])
    assert read.identifying == llm.identifying
    assert dumps(read) == written
    assert "api_key" not in written
    assert "secret" not in written


def test_a_chain_is_written_with_its_model(tmp_path: Path) -> None:
    save_tiny_model("llama", tmp_path)
    chain = ChatPromptTemplate.from_messages([("human", "{q}")]) | ChatLinearAlignment(
        model=str(tmp_path), max_tokens=4
    )
    read = load(
        dumpd(chain),
        valid_namespaces=["la_agents"],
        allowed_objects=[*FACES, RunnableSequence, ChatPromptTemplate, HumanMessagePromptTemplate, PromptTemplate],
    )
    assert read.invoke({"q": QUESTION}).text == chain.invoke({"q": QUESTION}).text


def test_a_store_is_never_left_out_in_silence(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path) as store, pytest.raises(NotImplementedError):
        load(
            dumpd(make(ChatLinearAlignment, preferences=store)),
            valid_namespaces=["la_agents"],
            allowed_objects=[*FACES],
        )
