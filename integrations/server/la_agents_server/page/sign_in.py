"""Signing in and out."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from la_agents_server.errors import ApiError
from la_agents_server.guard import COOKIE
from la_agents_server.oidc import Oidc
from la_agents_server.page.rendering import render
from la_agents_server.services import Services, services_of

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_STATE = "la_agents_oidc"


@router.get("/signin")
async def ask(request: Request, token: str = "") -> Response:
    """Ask for a key, or let a link be confirmed: what merely opens it, such as a preview, does not use it up."""
    return _door(request, token=token[:100])


@router.post("/signin")
async def sign_in(request: Request, secret: Annotated[str, Form(max_length=200)] = "") -> Response:
    """Begin a session by a link's secret or a key."""
    services = services_of(request)
    session = await run_in_threadpool(_session, services, secret.strip())
    if session is None:
        return _door(request, failed=True)
    return _signed_in(services, session, RedirectResponse("/", 303))


@router.get("/signin/oidc")
async def to_provider(request: Request) -> Response:
    """Send the browser to the provider."""
    oidc, back = _oidc(request)
    url, state = await oidc.begin(back)
    response = RedirectResponse(url, 303)
    secure = services_of(request).settings.secure_cookies
    # Lax: the browser comes back from the provider's page, and has to bring it along.
    response.set_cookie(_STATE, state, max_age=600, path="/signin/oidc", httponly=True, samesite="lax", secure=secure)
    return response


@router.get("/signin/oidc/back")
async def from_provider(request: Request, code: str = "", state: str = "") -> Response:
    """Take the browser back; only the one that was sent, so that nobody is signed in as somebody else unawares."""
    oidc, back = _oidc(request)
    services = services_of(request)
    if not state or not secrets.compare_digest(state.encode(), request.cookies.get(_STATE, "").encode()):
        return _door(request, failed=True)
    try:
        user = await oidc.finish(code, state, back)
    except ApiError as error:
        if error.status != 403:
            raise
        return _door(request, failed=True)
    session = await run_in_threadpool(services.sign_ins.begin_for, user)
    # A redirect would count as the provider's, and leave the strict cookie behind; a page of our own goes on.
    response = _signed_in(services, session, render(request, "signed_in.html"))
    response.delete_cookie(_STATE, path="/signin/oidc")
    return response


def _signed_in(services: Services, session: str, response: Response) -> Response:
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


def _door(request: Request, *, token: str = "", failed: bool = False) -> Response:
    has_oidc = services_of(request).oidc is not None
    return render(request, "signin.html", 403 if failed else 200, token=token, failed=failed, has_oidc=has_oidc)


def _oidc(request: Request) -> tuple[Oidc, str]:
    """The provider, and where it sends browsers back to."""
    services = services_of(request)
    if services.oidc is None:
        raise ApiError(404, "Expected a server with an OIDC provider, got one without; use a key or a link.")
    base = services.settings.public_url or str(request.base_url)
    return services.oidc, f"{base.rstrip('/')}/signin/oidc/back"


def _session(services: Services, secret: str) -> str | None:
    key = services.keys.find(secret)
    return services.sign_ins.redeem(secret) if key is None else services.sign_ins.begin(key)
