"""`/v1/preferences`: the memory of the caller's user."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from la_agents.preferences import Change, Scope
from la_agents_server import memory
from la_agents_server.errors import ApiError
from la_agents_server.memory import StateFilter, timed
from la_agents_server.services import services_of, user_for
from la_agents_server.wire.listing import Listing
from la_agents_server.wire.preference import (
    ConflictView,
    Decision,
    Draft,
    Erased,
    Feedback,
    FoundView,
    Imported,
    LayerView,
    Listed,
    Moment,
    Patch,
    PreferenceView,
    RatingView,
    Search,
)

__all__ = ["router"]

router = APIRouter(tags=["Preferences"])

_LINES: dict[str, Any] = {"application/x-ndjson": {"schema": {"type": "string", "minLength": 1}}}
_PLAIN: dict[str, Any] = {
    "text/plain": {"schema": {"type": "string", "minLength": 1}, "example": '{"text": "Answer in short sentences."}\n'}
}


@router.get("/v1/preferences", response_model=Listed)
async def list_preferences(
    request: Request,
    state: StateFilter = "active",
    scope: Scope | None = None,
    source: str | None = None,
    as_of: Moment | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> dict[str, Any]:
    """List preferences, the oldest first."""
    services, user = services_of(request), user_for(request)
    found = await memory.listed(services, user, state, as_of=as_of)
    found = [p for p in found if scope in (None, p.scope) and source in (None, p.source)]
    if after is not None:
        place = next((i for i, p in enumerate(found) if p.id == after), None)
        if place is None:
            raise ApiError(404, "Expected the id of a listed preference, got another.", code="not_found", param="after")
        found = found[place + 1 :]
    data = await memory.views(services, user, found[:limit])
    return {
        "object": "list",
        "data": data,
        "has_more": len(found) > limit,
        "last_id": data[-1]["id"] if data else None,
    }


@router.post("/v1/preferences", status_code=201, response_model=PreferenceView)
async def add_preference(request: Request, body: Draft) -> dict[str, Any]:
    """Add one, and return it as it is known now: what says the same as a known one is that one."""
    services, user = services_of(request), user_for(request)
    added = await timed(services, "add", services.store.aadd(user, **body.model_dump()))
    return (await memory.views(services, user, [added]))[0]


@router.delete("/v1/preferences", response_model=Erased)
async def erase_preferences(request: Request) -> dict[str, Any]:
    """Erase everything that is known of the user, histories included; there is no undo."""
    number = await memory.erase(services_of(request), user_for(request))
    return {"object": "erasure", "erased": number}


@router.post("/v1/preferences/search", response_model=Listing[FoundView])
async def search_preferences(request: Request, body: Search) -> dict[str, Any]:
    """Show what an answer to a question would use, the shared layers' included."""
    services, user = services_of(request), user_for(request)
    found = await memory.called_for(services, user, body.query, k=body.k, as_of=body.as_of)
    uses = services.answers.uses(user)
    data = [
        {
            "preference": memory.view(each.preference, uses.get(each.preference.id)),
            "layer": each.layer,
            "relevance": each.relevance,
            "weight": each.weight,
        }
        for each in found
    ]
    return {"object": "list", "data": data}


@router.get("/v1/preferences/export", response_class=Response, responses={200: {"content": _LINES}})
async def export_preferences(request: Request) -> Response:
    """Everything the store has of the user, as JSON lines."""
    text = await memory.export(services_of(request), user_for(request))
    headers = {"content-disposition": 'attachment; filename="preferences.jsonl"'}
    return Response(text, media_type="application/x-ndjson", headers=headers)


@router.post(
    "/v1/preferences/import",
    response_model=Imported,
    openapi_extra={"requestBody": {"required": True, "content": _LINES | _PLAIN}},
)
async def import_preferences(request: Request) -> dict[str, Any]:
    """Store the preferences of JSON lines, as exported; all of them or, where a line is bad, none."""
    number = await memory.import_lines(services_of(request), user_for(request), await request.body())
    return {"object": "import", "imported": number}


@router.get("/v1/preferences/conflicts", response_model=Listing[ConflictView])
async def list_conflicts(request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> dict[str, Any]:
    """Pairs of preferences that may contradict or repeat each other, the most similar first."""
    services, user = services_of(request), user_for(request)
    pairs = await timed(services, "conflicts", services.store.aconflicts(user, at_most=limit))
    data = [
        {"older": memory.view(each.older), "newer": memory.view(each.newer), "similarity": each.similarity}
        for each in pairs
    ]
    return {"object": "list", "data": data}


@router.post("/v1/preferences/conflicts/decide", response_model=Listing[PreferenceView])
async def decide_conflict(request: Request, body: Decision) -> dict[str, Any]:
    """Settle a possible conflict, and return what is different now; it is not shown again."""
    services, user = services_of(request), user_for(request)
    if body.older == body.newer:
        raise ApiError(404, "Expected the ids of two preferences, got one twice.", code="not_found", param="newer")
    work = services.store.adecide(user, body.older, body.newer, keep=body.keep)
    different = await timed(services, "decide", work)
    return {"object": "list", "data": await memory.views(services, user, different)}


@router.get("/v1/preferences/{id}", response_model=PreferenceView)
async def get_preference(request: Request, id: str) -> dict[str, Any]:
    """One preference, in whatever state."""
    services, user = services_of(request), user_for(request)
    found = await timed(services, "get", services.store.aget(user, id))
    return (await memory.views(services, user, [found]))[0]


@router.patch("/v1/preferences/{id}", response_model=PreferenceView)
async def patch_preference(request: Request, id: str, body: Patch) -> dict[str, Any]:
    """Change what is given."""
    services, user = services_of(request), user_for(request)
    changed = await memory.changed(services, "update", user, id, services.store.aupdate(user, id, **body.changes()))
    return (await memory.views(services, user, [changed]))[0]


@router.delete("/v1/preferences/{id}", response_model=PreferenceView)
async def forget_preference(request: Request, id: str) -> dict[str, Any]:
    """Let one apply no more; it stays in the history until everything is erased, and `undo` brings it back."""
    services, user = services_of(request), user_for(request)
    await memory.changed(services, "forget", user, id, services.store.aforget(user, id))
    return (await memory.views(services, user, [await services.store.aget(user, id)]))[0]


@router.get("/v1/preferences/{id}/history", response_model=Listing[Change])
async def preference_history(request: Request, id: str) -> dict[str, Any]:
    """What happened to one, the oldest first."""
    services, user = services_of(request), user_for(request)
    changes = await timed(services, "history", services.store.ahistory(user, id))
    return {"object": "list", "data": changes}


@router.post("/v1/preferences/{id}/undo", response_model=Listing[PreferenceView])
async def undo_preference(request: Request, id: str) -> dict[str, Any]:
    """Take back the latest change that still stands, and return what is different now."""
    services, user = services_of(request), user_for(request)
    different = await memory.changed(services, "undo", user, id, services.store.aundo(user, id))
    return {"object": "list", "data": await memory.views(services, user, different)}


@router.post("/v1/preferences/{id}/approve", response_model=PreferenceView)
async def approve_proposal(request: Request, id: str) -> dict[str, Any]:
    """Let a proposal apply, and return the preference as which it is known now."""
    services, user = services_of(request), user_for(request)
    approved = await memory.changed(services, "approve", user, id, services.store.proposals.aapprove(user, id))
    return (await memory.views(services, user, [approved]))[0]


@router.post("/v1/preferences/{id}/reject", response_model=PreferenceView)
async def reject_proposal(request: Request, id: str) -> dict[str, Any]:
    """Turn a proposal down; the same words are not proposed again."""
    services, user = services_of(request), user_for(request)
    rejected = await memory.changed(services, "reject", user, id, services.store.proposals.areject(user, id))
    return (await memory.views(services, user, [rejected]))[0]


@router.post("/v1/feedback", response_model=RatingView)
async def rate_answer(request: Request, body: Feedback) -> dict[str, Any]:
    """Rate an answer: what it used gains or loses weight, and what the comment says waits for approval."""
    return await memory.rate(services_of(request), user_for(request), body.answer, body.score, body.comment)


@router.get("/v1/layers", response_model=Listing[LayerView])
async def list_layers(request: Request) -> dict[str, Any]:
    """What the organisation asks of every answer."""
    return {"object": "list", "data": await memory.layer_views(services_of(request))}
