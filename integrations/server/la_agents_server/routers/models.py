"""`GET /v1/models`."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from la_agents.preferences import BundledEmbeddings
from la_agents_server.errors import ApiError
from la_agents_server.services import services_of
from la_agents_server.wire.listing import Listing

__all__ = ["EMBEDDINGS_NAME", "router"]

EMBEDDINGS_NAME = BundledEmbeddings.name.rpartition("/")[2]

router = APIRouter(tags=["OpenAI"])


class ModelView(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "la-agents"


def _models(request: Request) -> list[ModelView]:
    return [ModelView(id=name) for name in (services_of(request).model_name, EMBEDDINGS_NAME)]


@router.get("/v1/models")
async def list_models(request: Request) -> Listing[ModelView]:
    """List the models: the one that answers, and the embeddings."""
    return Listing(object="list", data=_models(request))


@router.get("/v1/models/{model:path}")
async def get_model(request: Request, model: str) -> ModelView:
    """Describe one model."""
    for known in _models(request):
        if known.id == model:
            return known
    raise ApiError(404, "Expected a model of this server, got another; see /v1/models.", code="model_not_found")
