"""LangChain's own tests for embeddings, on the bundled model."""

from __future__ import annotations

from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from la_agents.preferences.embedding.bundled import BundledEmbeddings


class TestBundledEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[BundledEmbeddings]:
        return BundledEmbeddings


class TestBundledEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[BundledEmbeddings]:
        return BundledEmbeddings
