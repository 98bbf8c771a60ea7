"""`GET /v1/models`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from la_agents.preferences import BundledEmbeddings
from la_agents_server.errors import ApiError
from la_agents_server.services import services_of

__all__ = ["EMBEDDINGS_NAME", "router"]

EMBEDDINGS_NAME = BundledEmbeddings.name.rpartition("/")[2]

router = APIRouter(tags=["OpenAI"])


def _models(request: Request) -> list[dict[str, Any]]:
    names = (services_of(request).model_name, EMBEDDINGS_NAME)
    return [{"id": name, "object": "model", "created": 0, "owned_by": "la-agents"} for name in names]


@router.get("/v1/models")
async def list_models(request: Request) -> dict[str, Any]:
    """List the models: the one that answers, and the embeddings."""
    return {"object": "list", "data": _models(request)}


@router.get("/v1/models/{model:path}")
async def get_model(request: Request, model: str) -> dict[str, Any]:
    """Describe one model."""
    for known in _models(request):
        if known["id"] == model:
            return known
    raise ApiError(404, "Expected a model of this server, got another; see /v1/models.", code="model_not_found")
