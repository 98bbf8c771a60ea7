"""Agents on the bundled model: fifty turns with tools that answer and tools that fail, and not one parse error."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from la_agents import ChatLinearAlignment
from la_agents.models import LoadedModel

QUESTIONS = (
    "What is the weather in Rome?",
    "How much is 3 plus 4?",
    'Remember this: "a \\"quoted\\" {brace}"',
    "<tool_call> is a word I like.",
    "¿Qué tiempo hace en 東京?",
)


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}."


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def broken(note: str) -> str:
    """Keep a note."""
    msg = "the notebook is full"
    raise RuntimeError(msg)


class Scripted(AgentMiddleware):
    """The model has to call a tool first, and answers in words then; errors of tools are told to it."""

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        first = isinstance(request.messages[-1], HumanMessage)
        if first:
            return await handler(request.override(tool_choice="any"))
        return await handler(request.override(tool_choice="none", model_settings={"max_tokens": 6}))

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        try:
            return await handler(request)
        except RuntimeError as error:
            return ToolMessage(f"Error: {error}", tool_call_id=request.tool_call["id"], status="error")


async def test_fifty_turns_without_a_parse_error(bundled_model: LoadedModel) -> None:
    async def converse(number: int) -> list[Any]:
        principles = ["Be brief."] if number == 0 else []  # one of them aligned, in a batch with the others
        llm = ChatLinearAlignment(model=bundled_model, principles=principles, max_tokens=36, temperature=0.9)
        tools = [get_weather, add, broken] if number % 2 else [broken]
        agent = create_agent(llm, tools, middleware=[Scripted()])
        seen: list[Any] = []
        for turn in range(10):
            # A window of one turn: the point is fifty answers, not a long prompt.
            question = HumanMessage(QUESTIONS[(number + turn) % len(QUESTIONS)])
            seen += (await agent.ainvoke({"messages": [question]}, {"recursion_limit": 8}))["messages"]
        return seen

    messages = [message for seen in await asyncio.gather(*map(converse, range(5))) for message in seen]
    answers = [message for message in messages if isinstance(message, AIMessage)]
    assert len(answers) == 100
    assert not any(message.invalid_tool_calls for message in answers)
    assert sum(len(message.tool_calls) for message in answers) == 50
    results = [message for message in messages if isinstance(message, ToolMessage)]
    assert len(results) == 50
    assert any(message.status == "error" and "full" in message.content for message in results)
    assert all(m.content.startswith(("Sunny", "Error: ")) or m.content.lstrip("-").isdigit() for m in results)
