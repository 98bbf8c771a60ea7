"""Embeddings that need no model."""

from __future__ import annotations

import hashlib
import math

from langchain_core.embeddings import Embeddings

__all__ = ["WordEmbeddings"]


class WordEmbeddings(Embeddings):
    """Bags of words, hashed: real similarity without a model."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        vector = [1e-3] * 64
        for word in text.lower().split():
            vector[hashlib.sha256(word.encode()).digest()[0] % 64] += 1.0
        norm = math.hypot(*vector)
        return [x / norm for x in vector]
