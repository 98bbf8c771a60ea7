"""`/health` and `/ready`, for whoever asks."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from la_agents.errors import StoreUnavailableError
from la_agents_server.errors import ApiError
from la_agents_server.services import services_of

__all__ = ["router"]

router = APIRouter(tags=["Operation"])


class Health(BaseModel):
    """That all is well; an error's body says what is not."""

    status: Literal["ok", "ready"]


@router.get("/health")
async def health() -> Health:
    """Whether the process answers at all."""
    return Health(status="ok")


@router.get("/ready")
async def ready(request: Request) -> Health:
    """Whether it takes requests: the model is loaded, the store can be reached, and it is not stopping."""
    services = services_of(request)
    if services.stopping or not services.ready:
        raise ApiError(503, "The server is starting or stopping.", code="not_ready", headers={"Retry-After": "1"})
    try:
        await services.store.acount("readiness")
    except StoreUnavailableError:
        raise ApiError(503, "The store cannot be reached.", code="not_ready", headers={"Retry-After": "1"}) from None
    return Health(status="ready")
