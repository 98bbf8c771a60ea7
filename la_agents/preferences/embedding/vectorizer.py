"""Texts to vectors by any LangChain Embeddings, checked: embeddings may be anybody's."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from la_agents.errors import ConfigurationError
from la_agents.preferences.retrieval.everyday import PREFERENCES, QUESTIONS, Common
from la_agents.preferences.storage.records import Vector

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

__all__ = ["Vectorizer"]


class Vectorizer:
    """Embeds texts and makes sure that there is a proper vector for each.

    Every method raises ConfigurationError if the embeddings give something else.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self._common: Common | None = None
        self._lock = threading.Lock()

    def documents(self, texts: Sequence[str]) -> Vector:
        """Embed [n] texts as [n, dimension], in one batch."""
        return self._checked(self._embeddings.embed_documents([*texts]), len(texts))

    def query(self, text: str) -> Vector:
        """Embed one query as [dimension]. It is a message of the user's, and may hold lone surrogates."""
        valid = text.encode("utf-8", "replace").decode()
        vector: Vector = self._checked([self._embeddings.embed_query(valid)], 1)[0]
        return vector

    def common(self) -> Common:
        """What embeddings have in common, whatever they are of: learnt once, at the first call."""
        with self._lock:
            if self._common is None:
                vectors = self.documents([*QUESTIONS, *PREFERENCES])
                self._common = Common.of(vectors[: len(QUESTIONS)], vectors[len(QUESTIONS) :])
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
