"""The page's first part: what is remembered, with a form for whatever one may want to do about it."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from la_agents import Preference
from la_agents.errors import LaAgentsError
from la_agents.preferences import Conflict, Scope
from la_agents_server import memory
from la_agents_server.page.rendering import render
from la_agents_server.page.view import PAGE_SIZE, View
from la_agents_server.page.words import WEIGHTS, moved_in_words, nearest_weight
from la_agents_server.services import Services, principal_of, services_of, user_for

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_DONE = ("remembered", "changed", "forgotten", "undone", "approved", "rejected", "decided")
_SHOWN_CONFLICTS = 3
_COMPARED_UNASKED = 500

Place = Annotated[str, Form(max_length=2_000)]
"""Where a form stood: the page's `View` as a query string."""


@router.get("/")
async def show(
    request: Request, q: str = "", done: str = "", id: str = "", edit: str = "", conflicts: str = ""
) -> Response:
    """What is remembered; with `q`, what a question would use."""
    if principal_of(request).kind == "admin":
        return RedirectResponse("/keys", 303)
    view = View.of(request.url.query)
    done = done if done in _DONE else ""
    return await _page(request, view, q=q[:2_000], done=done, id=id, edit=edit, seek=bool(conflicts))


@router.post("/memory")
async def add(
    request: Request,
    text: Annotated[str, Form()] = "",
    scope: Annotated[Literal["always", "relevant"], Form()] = "relevant",
) -> Response:
    """Remember something."""
    try:
        added = await services_of(request).store.aadd(user_for(request), text, scope=scope)
    except LaAgentsError as error:
        return await _page(request, View(), error=str(error))
    return _redirected(View(), "remembered", added.id)


@router.post("/memory/{id}/edit")
async def edit(
    request: Request,
    id: str,
    text: Annotated[str, Form()],
    scope: Annotated[Scope, Form()],
    weight: Annotated[int, Form(ge=0, lt=len(WEIGHTS))],
    expires: Annotated[str, Form(max_length=10)] = "",
    place: Place = "",
) -> Response:
    """Change what is different."""
    services, user, view = services_of(request), user_for(request), View.of(place)
    try:
        known = await services.store.aget(user, id)
    except LaAgentsError as error:
        return await _page(request, view, error=str(error))
    changes: dict[str, Any] = {}
    if text.strip().replace("\r\n", "\n") != known.text:
        changes["text"] = text.replace("\r\n", "\n")
    if scope != known.scope:
        changes["scope"] = scope
    if weight != nearest_weight(known.weight):  # a slider that was not touched changes nothing
        changes["weight"] = WEIGHTS[weight][0]
    if expires != _day(known):
        try:
            changes["expires_at"] = datetime.fromisoformat(expires).replace(tzinfo=UTC) if expires else None
        except ValueError:
            return await _page(request, view, error="Expected a date, got something else.", edit=id)
    if not changes:
        return _redirected(view)
    return await _act(request, view, "changed", services.store.aupdate(user, id, **changes), id)


@router.post("/memory/{id}/{action}")
async def act(
    request: Request, id: str, action: Literal["forget", "undo", "approve", "reject"], place: Place = ""
) -> Response:
    """Forget, bring back, approve or reject one."""
    store, user, view = services_of(request).store, user_for(request), View.of(place)
    if action == "forget":
        return await _act(request, view, "forgotten", store.aforget(user, id), id)
    if action == "undo":
        return await _act(request, view, "undone", store.aundo(user, id))
    if action == "approve":
        return await _act(request, view, "approved", store.proposals.aapprove(user, id), id)
    return await _act(request, view, "rejected", store.proposals.areject(user, id))


@router.post("/conflicts")
async def decide(
    request: Request,
    older: Annotated[str, Form()],
    newer: Annotated[str, Form()],
    keep: Annotated[Literal["older", "newer", "both"], Form()],
    place: Place = "",
) -> Response:
    """Settle a possible conflict; what gave way can be brought back."""
    replaced = {"older": newer, "newer": older, "both": ""}[keep]
    work = services_of(request).store.adecide(user_for(request), older, newer, keep=keep)
    return await _act(request, View.of(place), "decided", work, replaced)


@router.get("/memory/{id}")
async def history(request: Request, id: str) -> Response:
    """What happened to one."""
    services, user, view = services_of(request), user_for(request), View.of(request.url.query)
    try:
        preference = await services.store.aget(user, id)
        changes = await services.store.ahistory(user, id)
    except LaAgentsError as error:
        return await _page(request, view, error=str(error), status=404)
    return render(request, "history.html", preference=preference, changes=changes[::-1], view=view)


@router.get("/chat")
async def chat(request: Request) -> Response:
    """The chat: unaligned and aligned side by side."""
    user_for(request)
    services = services_of(request)
    return render(request, "chat.html", model=services.model_name)


@router.get("/shared")
async def shared(request: Request) -> Response:
    """What the organisation asks of every answer."""
    return render(request, "shared.html", layers=await memory.layer_views(services_of(request)))


async def _act(request: Request, view: View, done: str, work: Awaitable[Any], id: str = "") -> Response:
    """Do it and show the page anew, saying so; or say why not."""
    try:
        await work
    except LaAgentsError as error:
        return await _page(request, view, error=str(error))
    return _redirected(view, done, id)


def _redirected(view: View, done: str = "", id: str = "") -> Response:
    """The page anew, saying what was done; with an id, it can be undone there."""
    return RedirectResponse(f"/?{view.query(done=done, id=id)}".rstrip("?"), 303)


async def _page(
    request: Request,
    view: View,
    *,
    q: str = "",
    done: str = "",
    id: str = "",
    edit: str = "",
    seek: bool = False,
    error: str = "",
    status: int = 0,
) -> Response:
    services, user = services_of(request), user_for(request)
    past = await _archived(services, user) if view.past or done == "remembered" else []
    now, pending, conflicts = ([], [], []) if view.past else await _current(services, user, seek=seek)
    uses = services.answers.uses(user)
    called_for = await memory.called_for(services, user, q) if q.strip() else []
    return render(
        request,
        "memory.html",
        status or (400 if error else 200),
        view=view,
        shown=view.shown(past if view.past else now),
        num_all=len(past if view.past else now),
        pending=pending[:PAGE_SIZE],
        num_pending=len(pending),
        conflicts=conflicts,
        texts={preference.id: preference.text for preference in now},
        replaced=[p.text for p in past if done == "remembered" and p.superseded_by == id],
        uses={key: (use, datetime.fromtimestamp(use.last_at, UTC)) for key, use in uses.items()},
        moved_in_words=moved_in_words,
        nearest_weight=nearest_weight,
        weights=WEIGHTS,
        expiry=_day,
        evidence=_evidence,
        query=q,
        called_for=called_for,
        done=done,
        done_id=id,
        edit=edit,
        error=error,
    )


async def _archived(services: Services, user: str) -> list[Preference]:
    """What no longer counts, the newest first."""
    states = ("superseded", "expired", "forgotten", "rejected")
    return [each for each in reversed(await memory.listed(services, user, "all")) if each.state in states]


async def _current(
    services: Services, user: str, *, seek: bool
) -> tuple[list[Preference], list[Preference], list[Conflict] | None]:
    """What counts, first what does so in every answer; what waits for approval; and possible conflicts.

    Of very many preferences, conflicts are sought only when they are asked for (`seek`): all pairs are compared.
    """
    active = (await memory.listed(services, user))[::-1]
    now = [p for p in active if p.scope == "always"] + [p for p in active if p.scope != "always"]
    pending = (await memory.listed(services, user, "pending"))[::-1]
    if len(now) > _COMPARED_UNASKED and not seek:
        return now, pending, None
    sought = services.store.aconflicts(user, at_most=_SHOWN_CONFLICTS)
    return now, pending, await memory.timed(services, "conflicts", sought)


def _day(preference: Preference) -> str:
    """The day of its expiry as a date field has it."""
    return preference.expires_at.date().isoformat() if preference.expires_at else ""


def _evidence(preference: Preference) -> str:
    """The user's own words that it came from, if they are known."""
    said = preference.metadata.get("evidence")
    return said if isinstance(said, str) and said != preference.text else ""
