"""Embeddings: the request, and the answer."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from la_agents_server.wire.numbers import WHOLE

__all__ = ["EmbeddingAnswer", "EmbeddingRequest", "embedding_answer"]

NUM_DIMENSIONS = 384
"""Of the bundled model's vectors."""

Text = Annotated[str, Field(min_length=1)]


class EmbeddingRequest(BaseModel):
    """The body of `POST /v1/embeddings`; texts only, since a client's token ids are of another tokenizer."""

    model_config = ConfigDict(
        strict=True, json_schema_extra={"examples": [{"model": "all-MiniLM-L6-v2", "input": ["Good morning!"]}]}
    )

    model: str
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=2_048)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=NUM_DIMENSIONS, le=NUM_DIMENSIONS), WHOLE] | None = None
    user: str | None = None


class _Embedding(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class _Usage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingAnswer(BaseModel):
    """A vector for each text, as numbers or as the base64 of float32 bytes."""

    object: Literal["list"]
    model: str
    data: list[_Embedding]
    usage: _Usage


def embedding_answer(request: EmbeddingRequest, vectors: Sequence[Sequence[float]], num_tokens: int) -> dict[str, Any]:
    """The vectors in the form that was asked for."""
    as_text = request.encoding_format == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(np.asarray(v, np.float32).tobytes()).decode() if as_text else [*v],
        }
        for index, v in enumerate(vectors)
    ]
    usage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    return {"object": "list", "model": request.model, "data": data, "usage": usage}
