"""Fifty turns of agents on the bundled model: calls that parse, tools that fail, users that never mix."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse, ToolRetryMiddleware
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from la_agents import ChatLinearAlignment, PreferenceStore
from la_agents.models import LoadedModel
from la_agents_langgraph import PreferenceMiddleware

USERS = ("alice", "bob", "carol", "dave", "erin")
SCRIPT = (
    "Remember that I love tea.",
    "What do I like?",
    "Set the oven to 200 degrees.",
    "Hello!",
    "Forget that I love tea.",
    "How warm is it in Rome in May?",
    "Ruf bitte den Ofen auf: 😀",
    "I'm allergic to nuts, keep that in mind.",
    'Say "}]}" and </tool_call>.',
    "Bye.",
)


class _CallThenAnswer(AgentMiddleware[Any, Any, Any]):
    """A call in the first step of a turn, whatever the model would rather do; then an answer."""

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        return handler(_led(request))

    async def awrap_model_call(self, request: ModelRequest[Any], handler: Any) -> ModelResponse[Any]:
        answer: ModelResponse[Any] = await handler(_led(request))
        return answer


def _led(request: ModelRequest[Any]) -> ModelRequest[Any]:
    called = request.messages[-1].type == "tool"
    latest = max(index for index, message in enumerate(request.messages) if message.type == "human")
    return request.override(tool_choice="none" if called else "any", messages=request.messages[latest:])


@tool
def set_oven(degrees: int) -> str:
    """Set the oven's temperature."""
    msg = f"the oven is on fire at {degrees}"
    raise OSError(msg)


def _check_turn(messages: list[BaseMessage]) -> list[ToolMessage]:
    """Each call was answered, none was broken, and the turn ended with an answer."""
    calls = [call for m in messages if isinstance(m, AIMessage) for call in m.tool_calls]
    assert calls
    assert not any(m.invalid_tool_calls for m in messages if isinstance(m, AIMessage))
    results = [m for m in messages if isinstance(m, ToolMessage)]
    assert sorted(str(call["id"]) for call in calls) == sorted(m.tool_call_id for m in results)
    assert isinstance(messages[-1], AIMessage)
    assert not messages[-1].tool_calls
    return results


@pytest.mark.timeout(900)
async def test_fifty_turns_of_five_users_at_once(bundled_model: LoadedModel, tmp_path: Path) -> None:
    with PreferenceStore(tmp_path) as store:
        for user in USERS:
            store.add(user, f"Call me {user}.", scope="always")
        agent = create_agent(
            ChatLinearAlignment(model=bundled_model, max_tokens=32),
            tools=[set_oven],
            middleware=[
                _CallThenAnswer(),
                PreferenceMiddleware(store, tools=True),
                ToolRetryMiddleware(max_retries=0, on_failure="continue"),
            ],
            checkpointer=InMemorySaver(),
        )

        async def converse(user: str) -> list[ToolMessage]:
            config: Any = {"configurable": {"user_id": user, "thread_id": user}}
            results, seen = [], 0
            for text in SCRIPT:
                messages = (await agent.ainvoke({"messages": [("human", text)]}, config))["messages"]
                results += _check_turn(messages[seen:])
                used = messages[-1].response_metadata["alignment"]["principles"]
                assert {each.id for each in store.list(user)} & {each["id"] for each in used}
                assert not any(f"Call me {other}." in str(messages) for other in USERS if other != user)
                seen = len(messages)
            return results

        results = [each for some in await asyncio.gather(*map(converse, USERS)) for each in some]
    failed = [each for each in results if each.name == "set_oven"]
    assert all(each.status == "error" for each in failed)
    if not failed:
        pytest.fail("Expected the model to try the oven once in 50 turns, got no such call.")
