"""Retrieval by an agent: the model chooses what a tool looks up, then answers each user in the user's manner.

Documents and preferences lie in one Chroma folder. Needs la-agents-langgraph.
"""

import tempfile
from collections.abc import Callable
from typing import Literal

from langchain.agents import create_agent
from langchain.agents.middleware import ModelRequest, ModelResponse, wrap_model_call
from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool, tool

from la_agents import ChatLinearAlignment
from la_agents_langgraph import ChromaStore, PreferenceMiddleware

DOCUMENTS = [
    "The sea near the harbour is home to seals, crabs and many gulls.",
    "Boats leave at ten in the morning. A ticket costs twelve euros; children under fourteen go free.",
    "The museum of the town is closed on Mondays.",
]


@wrap_model_call
def look_up_first(request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]) -> ModelResponse:
    """Make the first step of a turn a tool call, and the second an answer to the question with what was found.

    A large model finds this way by itself; the bundled one is led.
    """
    if request.messages[-1].type == "human":
        return handler(request.override(tool_choice="look_up"))
    question, _, found = request.messages[-3:]
    return handler(request.override(tools=[], messages=[HumanMessage(f"{found.text}\n\n{question.text}")]))


def retrieval_tool(store: ChromaStore) -> BaseTool:
    """A tool that finds the closest document; a choice is easier on a small model than free text."""

    @tool
    def look_up(topic: Literal["sea", "boats", "museum"]) -> str:
        """Look up a topic in the town guide."""
        return "\n".join(item.value["text"] for item in store.search(("town", "guide"), query=topic, limit=1))

    return look_up


def main() -> None:
    """Ask one question about the documents for two users."""
    with tempfile.TemporaryDirectory() as folder, ChromaStore(folder) as store:
        for number, text in enumerate(DOCUMENTS):
            store.put(("town", "guide"), str(number), {"text": text})
        store.preferences.add("alice", "Keep it short and simple.", scope="always")
        store.preferences.add("bob", "Answer in full sentences.", scope="always")

        agent = create_agent(
            ChatLinearAlignment(max_tokens=48),
            tools=[retrieval_tool(store)],
            middleware=[look_up_first, PreferenceMiddleware(store.preferences)],
        )
        for user in ("alice", "bob"):
            question = {"messages": [("human", "Which animals live near the harbour?")]}
            _, call, found, answer = agent.invoke(question, {"configurable": {"user_id": user}})["messages"]
            print(f"{user}: {answer.text}\n  (looked up {call.tool_calls[0]['args']['topic']}: {found.text})\n")


if __name__ == "__main__":
    main()
