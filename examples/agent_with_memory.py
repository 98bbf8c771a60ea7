"""An agent with memory: told a preference in one thread, it follows it in another. Needs la-agents-langgraph."""

import tempfile

from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver

from la_agents import ChatLinearAlignment, PreferenceStore
from la_agents.learning import PreferenceLearner, RuleExtractor
from la_agents_langgraph import PreferenceMiddleware


def main() -> None:
    """Say a wish once, then ask in a new thread, as two users."""
    with tempfile.TemporaryDirectory() as folder:
        store = PreferenceStore(path=folder)
        agent = create_agent(
            ChatLinearAlignment(max_tokens=48),
            middleware=[
                PreferenceMiddleware(store, learner=PreferenceLearner(store, RuleExtractor(), require_approval=False))
            ],
            checkpointer=InMemorySaver(),
        )

        def ask(user: str, thread: str, text: str) -> str:
            config = {"configurable": {"user_id": user, "thread_id": f"{user}-{thread}"}}
            return str(agent.invoke({"messages": [("human", text)]}, config)["messages"][-1].text)

        ask("alice", "monday", "Hello! Please always talk like a pirate: say arr, ye and matey.")
        print("remembered:", [preference.text for preference in store.list("alice")])
        for user in ("alice", "bob"):
            print(f"\n{user}: {ask(user, 'friday', 'Tell me about the sea.')}")


if __name__ == "__main__":
    main()
