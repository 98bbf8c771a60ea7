"""Texts to vectors by any LangChain Embeddings, checked: embeddings may be anybody's."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from la_agents.errors import ConfigurationError
from la_agents.preferences.records import Vector

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

__all__ = ["Vectorizer"]

_EVERYDAY_QUESTIONS = (
    "What should I cook tonight?",
    "Can you recommend a good book?",
    "Where should I go on holiday?",
    "How do I fix a leaking tap?",
    "Which laptop should I buy?",
    "What is the capital of Peru?",
    "Write an email to my boss.",
    "Explain photosynthesis.",
    "What should I wear to a wedding?",
    "How can I sleep better?",
    "Suggest a film for tonight.",
    "Plan a weekend in Rome.",
    "How do I learn Python?",
    "What is a good gift for my mother?",
    "Which restaurant should I try?",
    "Help me with my tax return.",
    "How do I train for a marathon?",
    "What are the best games this year?",
    "How do I style a small living room?",
    "Summarise this article.",
    "Which phone has the best camera?",
    "How do I get rid of acne?",
    "What does inflation mean?",
    "Can you suggest a playlist?",
    "Which university should I apply to?",
    "How do I negotiate a salary?",
    "What can I do with my kids on Sunday?",
    "How do I write a cover letter?",
    "Translate this sentence.",
    "What should I plant in spring?",
    "How do I choose a mortgage?",
    "Recommend some podcasts.",
    "What is a healthy breakfast?",
    "Which car should I rent?",
    "How should I prepare for an interview?",
    "Tell me a story.",
    "What is quantum computing?",
    "Where can I buy cheap furniture?",
    "How do I clean a carpet?",
    "What time zone is Tokyo in?",
)
"""Questions of many kinds: what a preference has in common with these says nothing about any one of them."""


class Vectorizer:
    """Embeds texts and makes sure that there is a proper vector for each.

    Every method raises ConfigurationError if the embeddings give something else.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self._common: Vector | None = None
        self._lock = threading.Lock()

    def documents(self, texts: Sequence[str]) -> Vector:
        """Embed [n] texts as [n, dimension], in one batch."""
        return self._checked(self._embeddings.embed_documents([*texts]), len(texts))

    def query(self, text: str) -> Vector:
        """Embed one query as [dimension]. It is a message of the user's, and may hold lone surrogates."""
        valid = text.encode("utf-8", "replace").decode()
        vector: Vector = self._checked([self._embeddings.embed_query(valid)], 1)[0]
        return vector

    def common(self) -> Vector:
        """The mean embedding of everyday questions, [dimension]: embedded once, at the first call."""
        with self._lock:
            if self._common is None:
                vectors = self.documents(_EVERYDAY_QUESTIONS)
                lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
                self._common = np.asarray((vectors / lengths).mean(axis=0), dtype=np.float32)
            return self._common

    def _checked(self, vectors: Sequence[Sequence[float]], num_texts: int) -> Vector:
        try:
            array = np.asarray(vectors, dtype=np.float32)
        except ValueError:  # of unequal lengths
            array = np.empty(0, dtype=np.float32)
        if array.ndim != 2 or len(array) != num_texts or not array.size or not np.isfinite(array).all():
            msg = (
                f"Expected {type(self._embeddings).__name__} to give {num_texts} vectors of equal "
                "length and finite numbers, got something else; check the embedding model."
            )
            raise ConfigurationError(msg)
        return array
