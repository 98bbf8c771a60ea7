"""A conversation that streams: earlier turns go along, and every turn is aligned with the user."""

import tempfile

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from la_agents import ChatLinearAlignment, PreferenceStore

QUESTIONS = ["Tell me about the sea.", "And who lives in it?"]


def main() -> None:
    """Ask two questions in a row and print the answers as they are written."""
    with tempfile.TemporaryDirectory() as folder:
        store = PreferenceStore(path=folder)
        store.add("alice", "Talk like a pirate: say arr, ye and matey.", scope="always")
        llm = ChatLinearAlignment(preferences=store, max_tokens=48)

        history: list[BaseMessage] = []
        for question in QUESTIONS:
            history.append(HumanMessage(question))
            print(f"\n> {question}")
            answer = ""
            for chunk in llm.stream(history, config={"configurable": {"user_id": "alice"}}):
                print(chunk.text, end="", flush=True)
                answer += chunk.text
            history.append(AIMessage(answer))
        print()


if __name__ == "__main__":
    main()
