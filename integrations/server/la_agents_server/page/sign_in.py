"""Signing in and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from la_agents_server.guard import COOKIE
from la_agents_server.page.rendering import render
from la_agents_server.services import Services, services_of

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.get("/signin")
async def ask(request: Request, token: str = "") -> Response:
    """Ask for a key, or let a link be confirmed: what merely opens it, such as a preview, does not use it up."""
    return render(request, "signin.html", token=token[:100], failed=False)


@router.post("/signin")
async def sign_in(request: Request, secret: Annotated[str, Form(max_length=200)] = "") -> Response:
    """Begin a session by a link's secret or a key."""
    services = services_of(request)
    session = await run_in_threadpool(_session, services, secret.strip())
    if session is None:
        return render(request, "signin.html", 403, token="", failed=True)
    response = RedirectResponse("/", 303)
    response.set_cookie(
        COOKIE,
        session,
        max_age=round(services.settings.session_days * 86_400),
        httponly=True,
        samesite="strict",
        secure=services.settings.secure_cookies,
    )
    return response


@router.post("/signout")
async def sign_out(request: Request) -> Response:
    """End the session."""
    await run_in_threadpool(services_of(request).sign_ins.end, request.cookies.get(COOKIE, ""))
    response = RedirectResponse("/signin", 303)
    response.delete_cookie(COOKIE)
    return response


def _session(services: Services, secret: str) -> str | None:
    key = services.keys.find(secret)
    return services.sign_ins.redeem(secret) if key is None else services.sign_ins.begin(key)
