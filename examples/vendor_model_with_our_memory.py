"""Any vendor's chat model with our memory: `python vendor_model_with_our_memory.py openai:gpt-5`, say.

Without an argument, a stand-in that recites what it was told answers instead. Needs la-agents-langgraph.
"""

import sys
import tempfile
from typing import Any

from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.language_models import SimpleChatModel
from langchain_core.messages import BaseMessage

from la_agents import PreferenceStore
from la_agents.learning import FeedbackRecorder, PreferenceLearner, RuleExtractor
from la_agents_langgraph import PreferenceMiddleware


class StandIn(SimpleChatModel):
    """Answers with its system prompt."""

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def _call(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> str:
        return f"I was told: {' '.join(str(m.text) for m in messages if m.type == 'system')}"


def main() -> None:
    """Learn from what alice says, answer her and bob, and let her rate the answer."""
    model = init_chat_model(sys.argv[1]) if len(sys.argv) > 1 else StandIn()
    with tempfile.TemporaryDirectory() as folder:
        store = PreferenceStore(path=folder)
        middleware = PreferenceMiddleware(
            store, learner=PreferenceLearner(store, RuleExtractor(), require_approval=False)
        )
        agent = create_agent(model, system_prompt="You are a cook.", middleware=[middleware])

        def ask(user: str, text: str) -> Any:
            config = {"configurable": {"user_id": user}}
            return agent.invoke({"messages": [("human", text)]}, config)["messages"][-1]

        ask("alice", "Hello, I'm allergic to peanuts.")
        for user in ("alice", "bob"):
            answer = ask(user, "What shall I cook tonight?")
            print(f"{user}: {answer.text}\n")
            if user == "alice":
                rating = FeedbackRecorder(store).rate(answer, +1, "Please always give metric units.", user_id=user)
                print(f"   now weighs {rating.changed[0].weight:.2f}: {rating.changed[0].text}")
                print(f"   waits for approval: {rating.proposed[0].text}\n")


if __name__ == "__main__":
    main()
