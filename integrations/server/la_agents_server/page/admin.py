"""The admin's part of the page: keys, and links for users."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from la_agents.errors import LaAgentsError
from la_agents_server.page.rendering import render
from la_agents_server.services import require_admin, services_of, url_of

__all__ = ["router"]

router = APIRouter(include_in_schema=False, dependencies=[Depends(require_admin)])


@router.get("/keys")
async def show(request: Request) -> Response:
    """All keys."""
    return await _page(request)


@router.post("/keys")
async def add(
    request: Request,
    kind: Annotated[str, Form()],
    name: Annotated[str, Form(max_length=256)] = "",
    prefix: Annotated[str, Form(max_length=200)] = "",
    names_users: Annotated[bool, Form()] = False,
    learns: Annotated[bool, Form()] = False,
) -> Response:
    """Make a key, and show it this once; or a link for a user."""
    services = services_of(request)
    try:
        if kind == "link":
            text = await run_in_threadpool(services.sign_ins.link, name)
            return await _page(request, link=url_of(request, f"/signin?token={text}"))
        options: dict[str, Any] = {"user": name} if kind == "personal" else {"name": name}
        if kind == "application":
            options |= {"prefix": prefix, "names_users": names_users}
        if kind != "admin":
            options["learns"] = learns
        _, text = await run_in_threadpool(lambda: services.keys.add(kind, **options))  # type: ignore[arg-type]
    except LaAgentsError as error:
        return await _page(request, error=str(error))
    return await _page(request, key=text)


@router.post("/keys/{id}/revoke")
async def revoke(request: Request, id: str) -> Response:
    """Revoke a key."""
    await run_in_threadpool(services_of(request).keys.revoke, id)
    return RedirectResponse("/keys", 303)


async def _page(request: Request, *, error: str = "", key: str = "", link: str = "") -> Response:
    keys = await run_in_threadpool(services_of(request).keys.list)
    return render(request, "keys.html", 400 if error else 200, keys=keys[::-1], error=error, key=key, link=link)
