"""Agents with `response_format`: both of LangChain's strategies, with a vendor's model and with an aligned one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel, Field
from vendor import VendorModel

from la_agents import ChatLinearAlignment
from la_agents.preferences import PreferenceStore
from la_agents_langgraph import PreferenceMiddleware

ALICE: Any = {"configurable": {"user_id": "alice"}}
ASKED: Any = {"messages": [HumanMessage("What shall I cook?")]}


class Dish(BaseModel):
    """A dish."""

    name: str = Field(max_length=60)
    hours: int = Field(ge=0, le=9)


class StructuredVendor(VendorModel):
    """Answers as the tool or the format that it is given asks, and puts what it was told into the name."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tool_names=[_name(tool) for tool in tools], **kwargs)

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        result = super()._generate(messages, stop, run_manager, **kwargs)
        dish = {"name": str(result.generations[0].message.text)[-60:], "hours": 1}
        call = {"name": "Dish", "args": dish, "id": "1"}
        by_tool = "Dish" in (kwargs.get("tool_names") or ())
        result.generations[0].message = AIMessage("", tool_calls=[call]) if by_tool else AIMessage(json.dumps(dish))
        return result


def _name(tool: Any) -> str:
    return str(tool["function"]["name"] if isinstance(tool, dict) else tool.name)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path) as store:
        store.add("alice", "I am vegetarian.", scope="always")
        yield store


STRATEGIES = [ToolStrategy(Dish), ProviderStrategy(Dish)]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("tools", [False, True])
async def test_a_vendors_model_is_told_and_answers_in_form(store: PreferenceStore, strategy: Any, tools: bool) -> None:
    middleware = PreferenceMiddleware(store, tools=tools)
    agent = create_agent(StructuredVendor(), middleware=[middleware], response_format=strategy)
    for result in (agent.invoke(ASKED, ALICE), await agent.ainvoke(ASKED, ALICE)):
        assert isinstance(result["structured_response"], Dish)
        assert "vegetarian" in result["structured_response"].name
        (answer,) = (message for message in result["messages"] if isinstance(message, AIMessage))
        assert [p["id"] for p in answer.response_metadata["alignment"]["principles"]] == [
            each.id for each in store.list("alice")
        ]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("own", [False, True])
def test_an_aligned_model_answers_in_form(store: PreferenceStore, strategy: Any, own: bool) -> None:
    from tests.tiny import tiny_model

    llm = ChatLinearAlignment(model=tiny_model("llama"), max_tokens=160, preferences=store if own else None)
    agent = create_agent(llm, middleware=[PreferenceMiddleware(store)], response_format=strategy)
    result = agent.invoke(ASKED, ALICE)
    assert isinstance(result["structured_response"], Dish)
    report = result["messages"][1].response_metadata["alignment"]
    assert report["scope"] in ("text", "nothing")
