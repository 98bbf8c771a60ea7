"""Embeds texts by any LangChain Embeddings, and checks the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from la_agents.errors import ConfigurationError
from la_agents.preferences.record import Vector

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

__all__ = ["Vectorizer"]


class Vectorizer:
    """Embeds texts and makes sure that there is a proper vector for each.

    Every method raises ConfigurationError if the embeddings give something else.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    def documents(self, texts: Sequence[str]) -> Vector:
        """Embed [n] texts as [n, dimension], in one batch."""
        return self._checked(self._embeddings.embed_documents([*texts]), len(texts))

    def query(self, text: str) -> Vector:
        """Embed one query as [dimension]; it is a message of the user's, and may hold lone surrogates."""
        vector: Vector = self._checked([self._embeddings.embed_query(_valid(text))], 1)[0]
        return vector

    def queries(self, texts: Sequence[str]) -> Vector:
        """Embed the [n] parts of one message as [n, dimension]."""
        return np.stack([self.query(text) for text in texts])

    def serves(self, text: str) -> bool:
        """Whether the model says that it knows the language of a text; one that says nothing knows all."""
        knows = getattr(self._embeddings, "knows", None)
        return not callable(knows) or bool(knows(_valid(text)))

    def are_about_the_same(self, one: str, other: str) -> bool | None:
        """Whether two texts, maybe in two languages, are about one thing; None if the model cannot say."""
        say = getattr(self._embeddings, "are_about_the_same", None)
        can_say = callable(say) and self.serves(one) and self.serves(other)
        return bool(say(_valid(one), _valid(other))) if callable(say) and can_say else None

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


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
