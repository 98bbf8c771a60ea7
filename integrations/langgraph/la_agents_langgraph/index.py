"""Which texts of a value are embedded, by which model, and how a query is compared with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from langchain_core.embeddings import Embeddings
from langgraph.store.base import IndexConfig, PutOp, ensure_embeddings, get_text_at_path, tokenize_path

from la_agents.errors import StoreMismatchError
from la_agents.preferences import BundledEmbeddings, embeddings_identity
from la_agents_langgraph.records import StoredItem, Vector

__all__ = ["TextIndex", "Vectors", "scores"]

_BUNDLED_DIMENSION = 384

Vectors = Mapping[str, Vector]
"""Embeddings by text."""


class TextIndex:
    """The index configuration of a store.

    Args:
        config: LangGraph's; "bundled" for the bundled embeddings on the whole value, None for no semantic search.
    """

    def __init__(self, config: IndexConfig | Literal["bundled"] | None) -> None:
        if config == "bundled":
            config = IndexConfig(dims=_BUNDLED_DIMENSION, embed=BundledEmbeddings())
        self.embeddings: Embeddings | None = None if config is None else ensure_embeddings(config.get("embed"))
        self.dimension = 0 if config is None else config["dims"]
        self._fields = [] if config is None else (config.get("fields") or ["$"])

    @property
    def identity(self) -> str:
        """What tells the embedding model apart; "" without one."""
        return "" if self.embeddings is None else embeddings_identity(self.embeddings)

    def texts(self, op: PutOp) -> list[str]:
        """The texts of a value to embed: by the op's own fields, else the store's; none if it is not to be indexed."""
        if self.embeddings is None or op.value is None or op.index is False:
            return []
        fields = self._fields if op.index is None else op.index
        found = [text for field in fields for text in get_text_at_path(op.value, _path(field))]
        return [*dict.fromkeys(text for text in found if text.strip())]

    def embed(self, texts: Iterable[str], queries: Iterable[str]) -> tuple[Vectors, Vectors]:
        """Embed documents and queries."""
        texts, queries = [*dict.fromkeys(texts)], [*dict.fromkeys(queries)]
        if self.embeddings is None:
            return {}, {}
        documents = self.embeddings.embed_documents(texts) if texts else []
        return self._paired(texts, documents), self._paired(queries, map(self.embeddings.embed_query, queries))

    async def aembed(self, texts: Iterable[str], queries: Iterable[str]) -> tuple[Vectors, Vectors]:
        """Embed documents and queries by the model's async methods."""
        texts, queries = [*dict.fromkeys(texts)], [*dict.fromkeys(queries)]
        if self.embeddings is None:
            return {}, {}
        documents = await self.embeddings.aembed_documents(texts) if texts else []
        asked = [await self.embeddings.aembed_query(query) for query in queries]
        return self._paired(texts, documents), self._paired(queries, asked)

    def _paired(self, texts: Sequence[str], vectors: Iterable[Sequence[float]]) -> dict[str, Vector]:
        arrays = [np.asarray(vector, dtype=np.float32) for vector in vectors]
        for array in arrays:
            if array.shape != (self.dimension,):
                msg = f"Expected vectors of {self.dimension} numbers, as dims says, got {array.shape}; set dims right."
                raise StoreMismatchError(msg)
        return dict(zip(texts, arrays, strict=True))


def _path(field: str) -> Any:
    """LangGraph's form of a path; `$` is the whole value."""
    return field if field == "$" else tokenize_path(field)


def scores(query: Vector, items: Sequence[StoredItem]) -> list[float | None]:
    """Each item's best cosine similarity to the query, over its vectors; None if it has none."""
    stacked = [vector for each in items for vector in each.vectors]
    if not stacked:
        return [None] * len(items)
    matrix = np.stack(stacked)
    norms = np.linalg.norm(matrix, axis=1) * np.linalg.norm(query)
    cosines: Any = np.divide(matrix @ query, norms, out=np.zeros_like(norms), where=norms != 0)
    remaining = iter(cosines.tolist())
    return [max((next(remaining) for _ in each.vectors), default=None) for each in items]
