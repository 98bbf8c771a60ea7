"""`/v1/admin` and `/metrics`, for admins: keys, links, layers, purging; nothing here reads a user's preferences."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from la_agents import Preference
from la_agents_server import memory
from la_agents_server.errors import ApiError
from la_agents_server.keys import Key
from la_agents_server.services import require_admin, services_of, url_of
from la_agents_server.wire.key import LinkView, MadeKey, NewKey, NewLink, PurgeReceipt, RevokedKey
from la_agents_server.wire.listing import Listing
from la_agents_server.wire.preference import LayerDraft, LayerEntry

__all__ = ["router"]

_FIGURES = {"text/plain": {"schema": {"type": "string"}}}

router = APIRouter(tags=["Administration"], dependencies=[Depends(require_admin)])


@router.get("/v1/admin/keys", response_model=Listing[Key])
async def list_keys(request: Request) -> dict[str, Any]:
    """All keys, without the keys themselves."""
    keys = await run_in_threadpool(services_of(request).keys.list)
    return {"object": "list", "data": keys}


@router.post("/v1/admin/keys", status_code=201, response_model=MadeKey)
async def add_key(request: Request, body: NewKey) -> dict[str, Any]:
    """Make a key; the answer is the only place where it ever stands."""
    options = body.model_dump()
    key, text = await run_in_threadpool(lambda: services_of(request).keys.add(options.pop("kind"), **options))
    return {"object": "key", **key.model_dump(), "key": text}


@router.delete("/v1/admin/keys/{id}", response_model=RevokedKey)
async def revoke_key(request: Request, id: str) -> dict[str, Any]:
    """Revoke a key, at once."""
    if not await run_in_threadpool(services_of(request).keys.revoke, id):
        raise ApiError(404, "Expected the id of a key, got another.", code="not_found", param="id")
    return {"object": "key", "id": id, "revoked": True}


@router.post("/v1/admin/links", status_code=201, response_model=LinkView)
async def add_link(request: Request, body: NewLink) -> dict[str, Any]:
    """Make a link that signs a user in to the page, once."""
    text = await run_in_threadpool(lambda: services_of(request).sign_ins.link(body.user, hours=body.hours))
    return {"object": "link", "url": url_of(request, f"/signin?token={text}")}


@router.post("/v1/admin/layers/{layer}/preferences", status_code=201, response_model=LayerEntry)
async def add_to_layer(request: Request, layer: str, body: LayerDraft) -> Any:
    """Add a preference to one of the server's shared layers."""
    added: Preference = await _layer(request, layer).aadd(**body.model_dump())
    return added.model_dump()


@router.delete("/v1/admin/layers/{layer}/preferences/{id}", response_model=LayerEntry)
async def remove_from_layer(request: Request, layer: str, id: str) -> Any:
    """Let a preference of a shared layer apply no more, and return it."""
    removed: Preference = await _layer(request, layer).aforget(id)
    return removed.model_dump()


@router.post("/v1/admin/purge", response_model=PurgeReceipt)
async def purge(request: Request) -> dict[str, Any]:
    """Write the store anew, so that no byte of what was erased stays in its files; the receipt says how much went."""
    return await memory.purge(services_of(request))


@router.get("/metrics", response_class=Response, responses={200: {"content": _FIGURES}})
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    return Response(services_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _layer(request: Request, name: str) -> Any:
    services = services_of(request)
    if name not in services.store.layers:
        raise ApiError(
            404, "Expected the name of a layer of this server, got another.", code="not_found", param="layer"
        )
    return services.store.shared(name)
