"""LangChain's own tests for retrievers, on the bundled embeddings and a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_tests.integration_tests import RetrieversIntegrationTests

from la_agents.preferences.store import PreferenceStore
from la_agents.retrievers import PreferenceRetriever


class TestPreferenceRetriever(RetrieversIntegrationTests):
    store: PreferenceStore

    @pytest.fixture(autouse=True)
    def filled_store(self, tmp_path: Path) -> Iterator[None]:
        with PreferenceStore(tmp_path) as self.store:
            self.store.add_many("alice", ["I am vegetarian.", "I cook for two.", "No nuts.", "I eat early."])
            yield

    @property
    def retriever_constructor(self) -> type[PreferenceRetriever]:
        return PreferenceRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"store": self.store, "user_id": "alice", "min_relevance": None}

    @property
    def retriever_query_example(self) -> str:
        return "What should I cook tonight?"
