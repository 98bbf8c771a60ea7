"""`POST /v1/embeddings`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from la_agents.preferences.embedding.bundled import BundledEmbeddings
from la_agents_server.errors import ApiError
from la_agents_server.json_response import Json
from la_agents_server.routers.models import EMBEDDINGS_NAME
from la_agents_server.services import services_of
from la_agents_server.wire.embedding import EmbeddingRequest, embedding_answer

__all__ = ["router"]

router = APIRouter(tags=["OpenAI"])


@router.post("/v1/embeddings", response_class=Json)
async def embeddings(request: Request, body: EmbeddingRequest) -> Response:
    """Embed texts with the bundled model; no preference is read."""
    if body.model != EMBEDDINGS_NAME:
        msg = f"Expected the model {EMBEDDINGS_NAME!r}, got another."
        raise ApiError(404, msg, code="model_not_found", param="model")
    texts = [body.input] if isinstance(body.input, str) else body.input
    vectors = await run_in_threadpool(BundledEmbeddings().embed_documents, texts)
    if body.dimensions not in (None, len(vectors[0])):
        msg = f"Expected dimensions to be {len(vectors[0])}, which the model has, got another number."
        raise ApiError(400, msg, param="dimensions", code="unsupported_value")
    num_tokens = sum([len(services_of(request).chat.get_token_ids(text)) for text in texts])
    return Json(embedding_answer(body, vectors, num_tokens))
