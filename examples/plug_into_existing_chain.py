"""An existing chain, personalised by replacing its model: prompt | llm | parser stays as it was."""

import tempfile

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from la_agents import ChatLinearAlignment, PreferenceStore

QUESTION = "Tell me about the sea."


def main() -> None:
    """Ask the same question for two users."""
    with tempfile.TemporaryDirectory() as folder:
        store = PreferenceStore(path=folder)
        store.add("alice", "Talk like a pirate: say arr, ye and matey.", scope="always")
        store.add("bob", "One sentence is enough for me.", scope="always")

        prompt = ChatPromptTemplate([("system", "You are a guide in a small harbour town."), ("human", "{question}")])
        llm = ChatLinearAlignment(preferences=store, max_tokens=48)  # the one line that changed
        chain = prompt | llm | StrOutputParser()

        for user in ("alice", "bob"):
            config = {"configurable": {"user_id": user}}
            print(f"{user}: {chain.invoke({'question': QUESTION}, config=config)}\n")


if __name__ == "__main__":
    main()
