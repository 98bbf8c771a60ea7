"""PreferenceRetriever: documents for whoever the call is for, however the call comes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnablePassthrough
from pydantic import ValidationError

from la_agents.errors import ConfigurationError, UserNotSpecifiedError
from la_agents.preferences.store import PreferenceStore
from la_agents.retrievers import PreferenceRetriever

QUERY = "What should I cook tonight?"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path_factory.mktemp("prefs")) as store:
        store.add("alice", "Always answer in French.", scope="always", weight=2)
        store.add_many("alice", ["I am vegetarian.", "I cook for two.", "I love science fiction."])
        store.add("bob", "I want steak for dinner.")
        yield store


@pytest.fixture
def retriever(store: PreferenceStore) -> PreferenceRetriever:
    return PreferenceRetriever(store=store)


def config(user: object) -> RunnableConfig:
    return {"configurable": {"user_id": user}}


def texts(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


BOB = ["I want steak for dinner."]


def test_documents_carry_what_the_store_found(retriever: PreferenceRetriever, store: PreferenceStore) -> None:
    documents = retriever.invoke(QUERY, config("alice"))
    found = store.retrieve("alice", QUERY)
    assert len(found) == 3
    assert texts(documents) == [scored.preference.text for scored in found]
    assert documents[0].metadata == {
        "id": found[0].preference.id,
        "scope": "always",
        "weight": 2.0,
        "relevance": None,
        "layer": "user",
    }
    assert [document.id for document in documents] == [scored.preference.id for scored in found]
    assert [document.metadata["relevance"] for document in documents] == [scored.relevance for scored in found]


async def test_every_way_to_call_knows_its_user(retriever: PreferenceRetriever) -> None:
    bob = config("bob")
    assert texts(retriever.invoke(QUERY, bob)) == BOB
    assert texts(await retriever.ainvoke(QUERY, bob)) == BOB
    assert [texts(d) for d in retriever.stream(QUERY, bob)] == [BOB]
    assert [texts(d) async for d in retriever.astream(QUERY, bob)] == [BOB]
    both = [config("alice"), bob]
    for results in (retriever.batch([QUERY] * 2, both), await retriever.abatch([QUERY] * 2, both)):
        assert [len(documents) for documents in results] == [3, 1]
    assert texts(retriever.bind(user_id="bob").invoke(QUERY)) == BOB
    assert texts(await retriever.bind(user_id="bob").ainvoke(QUERY)) == BOB
    assert texts(retriever.with_config(bob).invoke(QUERY)) == BOB


async def test_in_a_chain_the_user_comes_with_the_config(retriever: PreferenceRetriever) -> None:
    chain = RunnablePassthrough.assign(found=(lambda x: x["question"]) | retriever) | (lambda x: texts(x["found"]))
    question = {"question": QUERY}
    assert chain.invoke(question, config("bob")) == BOB
    assert await chain.ainvoke(question, config("bob")) == BOB
    assert [*chain.stream(question, config("bob"))] == [BOB]
    assert chain.batch([question] * 2, [config("alice"), config("bob")])[1] == BOB
    events = [e async for e in chain.astream_events(question, config("bob"), version="v2")]
    (end,) = [event for event in events if event["event"] == "on_retriever_end"]
    assert texts(end["data"]["output"]) == BOB


def test_called_by_hand_inside_a_chain_it_sees_the_surrounding_config(retriever: PreferenceRetriever) -> None:
    chain = RunnableLambda(lambda query: texts(retriever.invoke(query)))
    assert chain.invoke(QUERY, config("bob")) == BOB


async def test_users_at_the_same_time_do_not_mix(retriever: PreferenceRetriever) -> None:
    users = ["alice", "bob"] * 8
    results = await asyncio.gather(*(retriever.ainvoke(QUERY, config(user)) for user in users))
    assert [len(documents) for documents in results] == [3, 1] * 8


def test_call_goes_before_config_and_config_before_constructor(store: PreferenceStore) -> None:
    retriever = PreferenceRetriever(store=store, user_id="bob")
    assert texts(retriever.invoke(QUERY)) == BOB
    assert len(retriever.invoke(QUERY, config("alice"))) == 3
    assert texts(retriever.bind(user_id="bob").invoke(QUERY, config("alice"))) == BOB


@pytest.mark.parametrize("where", [None, {}, config(None), config(""), {"configurable": {"thread_id": "1"}}])
async def test_no_user_is_an_error(retriever: PreferenceRetriever, where: Any) -> None:
    with pytest.raises(UserNotSpecifiedError):
        retriever.invoke(QUERY, where)
    with pytest.raises(UserNotSpecifiedError):
        await retriever.ainvoke(QUERY, where)


async def test_limits_come_from_the_call_or_the_constructor(store: PreferenceStore) -> None:
    retriever = PreferenceRetriever(store=store, k=1, user_id="alice")
    assert len(retriever.invoke(QUERY)) == 2
    assert len(retriever.invoke(QUERY, k=0)) == 1
    assert len(await retriever.ainvoke(QUERY, k=3, min_relevance=None)) == 4
    assert len(retriever.invoke(QUERY, min_relevance=0.99)) == 1


def test_what_is_unknown_or_out_of_range_is_refused(retriever: PreferenceRetriever, store: PreferenceStore) -> None:
    with pytest.raises(ConfigurationError, match="top_k"):
        retriever.invoke(QUERY, config("alice"), top_k=3)
    with pytest.raises(ConfigurationError, match="k to be"):
        retriever.invoke(QUERY, config("alice"), k=-1)
    with pytest.raises(ValidationError, match="k"):
        PreferenceRetriever(store=store, k=-1)


class Recorder(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.seen.append(query)

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.seen.append(f"{len(documents)} documents")


async def test_callbacks_see_the_run(retriever: PreferenceRetriever) -> None:
    recorder = Recorder()
    retriever.invoke(QUERY, {**config("bob"), "callbacks": [recorder]})
    await retriever.ainvoke(QUERY, {**config("bob"), "callbacks": [recorder]})
    assert recorder.seen == [QUERY, "1 documents"] * 2


def test_a_token_budget_is_kept_by_the_constructor_and_by_a_call(store: PreferenceStore) -> None:
    every = texts(PreferenceRetriever(store=store).invoke(QUERY, config("alice")))
    assert len(every) == 3
    assert texts(PreferenceRetriever(store=store, max_tokens=0).invoke(QUERY, config("alice"))) == []
    assert texts(PreferenceRetriever(store=store, max_tokens=0).invoke(QUERY, config("alice"), max_tokens=999)) == every
