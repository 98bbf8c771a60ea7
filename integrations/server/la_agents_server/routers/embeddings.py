"""`POST /v1/embeddings`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from la_agents.preferences import BundledEmbeddings
from la_agents_server.errors import ApiError
from la_agents_server.json_response import Json
from la_agents_server.routers.models import EMBEDDINGS_NAME
from la_agents_server.services import principal_of, services_of, user_for
from la_agents_server.wire.embedding import EmbeddingAnswer, EmbeddingRequest, embedding_answer

__all__ = ["router"]

router = APIRouter(tags=["OpenAI"])


@router.post("/v1/embeddings", responses={200: {"model": EmbeddingAnswer}}, response_class=Json)
async def embeddings(request: Request, body: EmbeddingRequest) -> Response:
    """Embed texts with the bundled model; no preference is read."""
    if body.model != EMBEDDINGS_NAME:
        msg = f"Expected the model {EMBEDDINGS_NAME!r}, got another."
        raise ApiError(404, msg, code="model_not_found", param="model")
    if principal_of(request).kind == "personal":
        user_for(request, user=body.user)  # its own, or none
    texts, chat = [body.input] if isinstance(body.input, str) else body.input, services_of(request).chat

    def embedded() -> tuple[int, list[list[float]]]:
        return sum([len(chat.get_token_ids(text)) for text in texts]), BundledEmbeddings().embed_documents(texts)

    num_tokens, vectors = await run_in_threadpool(embedded)
    return Json(embedding_answer(body, vectors, num_tokens))
