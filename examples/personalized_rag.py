"""Retrieval-augmented answers, per user: facts come from a vector store, the manner from preferences."""

import tempfile
from pathlib import Path

from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

from la_agents import ChatLinearAlignment, PreferenceStore
from la_agents.preferences.embedding.bundled import BundledEmbeddings

DOCUMENTS = [
    "The sea near the harbour is home to seals, crabs and many gulls.",
    "Boats leave at ten in the morning. A ticket costs twelve euros; children under fourteen go free.",
    "The museum of the town is closed on Mondays.",
]


def join(documents: list[Document]) -> str:
    """The retrieved texts as one."""
    return "\n".join(document.page_content for document in documents)


def main() -> None:
    """Ask one question about the documents for two users."""
    with tempfile.TemporaryDirectory() as folder:
        documents = Chroma(
            "town",
            BundledEmbeddings(),
            persist_directory=str(Path(folder) / "documents"),
            collection_metadata={"hnsw:space": "cosine"},
        )
        documents.add_texts(DOCUMENTS)

        store = PreferenceStore(path=Path(folder) / "preferences")
        store.add("alice", "Keep it short and simple.", scope="always")
        store.add("bob", "Answer in full sentences.", scope="always")

        prompt = ChatPromptTemplate.from_template("{facts}\n\n{question}")
        llm = ChatLinearAlignment(preferences=store, max_tokens=48)
        facts = documents.as_retriever(search_kwargs={"k": 1}) | join
        chain = {"facts": facts, "question": RunnablePassthrough()} | prompt | llm | StrOutputParser()

        for user in ("alice", "bob"):
            answer = chain.invoke("Which animals live near the harbour?", config={"configurable": {"user_id": user}})
            print(f"{user}: {answer}\n")


if __name__ == "__main__":
    main()
