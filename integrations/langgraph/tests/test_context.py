"""The user in the context of a run: `agent.invoke(..., context=Context(user_id="alice"))`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel
from typing_extensions import TypedDict
from vendor import VendorModel

from la_agents import PreferenceRetriever, PreferenceStore, preferences_prompt
from la_agents.errors import UserNotSpecifiedError
from la_agents.learning import PreferenceLearner, RuleExtractor
from la_agents_langgraph import PreferenceMiddleware


@dataclass
class Context:
    user_id: str
    tenant: str = "acme"


class ContextModel(BaseModel):
    user_id: str


class ContextDict(TypedDict):
    user_id: str


CONTEXTS = [(Context, Context("alice")), (ContextModel, {"user_id": "alice"}), (ContextDict, {"user_id": "alice"})]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path) as store:
        store.add("alice", "Answer in French.", scope="always")
        store.add("bob", "Answer in Greek.", scope="always")
        yield store


def ask(text: str) -> Any:
    return {"messages": [HumanMessage(text)]}


def answer(result: Any) -> str:
    return str(result["messages"][-1].text)


@pytest.mark.parametrize(("schema", "context"), CONTEXTS)
async def test_middleware_and_tools_serve_the_user_of_the_context(
    store: PreferenceStore, schema: Any, context: Any
) -> None:
    middleware = PreferenceMiddleware(store, tools=True)
    agent = create_agent(VendorModel(), middleware=[middleware], context_schema=schema)
    for text in ("Hello", "call recall_preferences"):
        for result in (agent.invoke(ask(text), context=context), await agent.ainvoke(ask(text), context=context)):
            assert "Answer in French." in answer(result)
            assert "Greek" not in answer(result)


def test_it_learns_for_the_user_of_the_context(store: PreferenceStore) -> None:
    learner = PreferenceLearner(store, RuleExtractor(), require_approval=False)
    agent = create_agent(
        VendorModel(), middleware=[PreferenceMiddleware(store, learner=learner)], context_schema=Context
    )
    agent.invoke(ask("I'm allergic to peanuts."), context=Context("carol"))
    assert [each.text for each in store.list("carol")] == ["I'm allergic to peanuts."]


def test_one_agent_serves_users_of_contexts_and_of_configs(store: PreferenceStore) -> None:
    agent = create_agent(
        VendorModel(),
        middleware=[PreferenceMiddleware(store)],
        context_schema=Context,
        checkpointer=InMemorySaver(),
    )
    thread: Any = {"configurable": {"thread_id": "1"}}
    assert "French" in answer(agent.invoke(ask("Hello"), thread, context=Context("alice")))
    both: Any = {"configurable": {"thread_id": "2", "user_id": "bob"}}
    assert "Greek" in answer(agent.invoke(ask("Hello"), both))
    assert "Greek" in answer(agent.invoke(ask("Hello"), both, context=Context("bob")))
    with pytest.raises(UserNotSpecifiedError, match="one user"):
        agent.invoke(ask("Hello"), both, context=Context("alice"))
    with pytest.raises(UserNotSpecifiedError, match="blank"):
        agent.invoke(ask("Hello"), thread, context=Context(" "))


async def test_a_graph_of_ones_own_asks_for_the_text_of_the_system_prompt(store: PreferenceStore) -> None:
    retriever = PreferenceRetriever(store=store)

    def prompted(state: MessagesState, config: RunnableConfig, runtime: Runtime[Context]) -> Any:
        question = state["messages"][-1].text
        system = f"You are a guide.\n\n{preferences_prompt(store, runtime.context.user_id, question)}"
        found = retriever.invoke(question, config)  # the config has the context
        assert [each.page_content for each in found] == [each.text for each in store.list(runtime.context.user_id)]
        return {"messages": [VendorModel().invoke([("system", system), *state["messages"]])]}

    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("prompted", prompted)
    builder.add_edge(START, "prompted")
    builder.add_edge("prompted", END)
    graph = builder.compile()
    for context, wanted in ((Context("alice"), "French"), (Context("bob"), "Greek")):
        for result in (graph.invoke(ask("Hi"), context=context), await graph.ainvoke(ask("Hi"), context=context)):
            assert answer(result).startswith("<You are a guide.\n\nThe user's preferences.")
            assert f"- Answer in {wanted}." in answer(result)


def test_a_model_with_a_store_of_its_own_serves_the_user_of_the_context(store: PreferenceStore) -> None:
    from la_agents import ChatLinearAlignment
    from tests.tiny import tiny_model

    llm = ChatLinearAlignment(model=tiny_model("llama"), preferences=store, max_tokens=3)
    agent = create_agent(llm, context_schema=Context)
    for name in ("alice", "bob"):
        report = agent.invoke(ask("Hi"), context=Context(name))["messages"][-1].response_metadata["alignment"]
        assert [each["id"] for each in report["principles"]] == [each.id for each in store.list(name)]
