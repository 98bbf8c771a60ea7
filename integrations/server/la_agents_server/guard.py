"""Guard: what every request passes before a route sees it. Whatever is not public needs a principal.

In order: a request id, the Host header, the server's own state, who asks, forged requests from other sites, the
key's limits, and the size of the body. It also writes the access log and counts for the metrics.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import RedirectResponse

from la_agents_server.errors import ApiError, ProblemPage, as_api_error, error_response
from la_agents_server.event_stream import ClientGoneError
from la_agents_server.logs import log_access
from la_agents_server.principal import Principal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from la_agents_server.services import Services

__all__ = ["COOKIE", "PUBLIC_PATHS", "Guard"]

COOKIE = "la_agents_session"

PUBLIC_PATHS = frozenset({"/health", "/ready", "/signin", "/signin/oidc", "/signin/oidc/back"})
"""What is answered without a key; the page's own files (`/static/`) are, too."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, services: Services, problem_page: ProblemPage) -> None:
        self._app = app
        self._services = services
        self._problem_page = problem_page
        self._hosts = {_host_name(host) for host in services.settings.allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(16)}"
        exchange = _Exchange(scope, send, request_id)
        try:
            await self._answer(scope, headers, receive, exchange)
        except ClientGoneError:
            exchange.status = 499
        except Exception as error:  # noqa: BLE001 - the last place that can still answer
            await exchange.fail(as_api_error(error), self._problem_page)
        finally:
            self._services.metrics.note(scope["method"], exchange.route, exchange.status, exchange.seconds)
            log_access(exchange, scope["method"])

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive, exchange: _Exchange) -> None:
        settings, path = self._services.settings, scope["path"]
        self._check_host(headers)
        if self._services.stopping and path not in ("/health", "/ready"):
            raise ApiError(
                503, "The server is stopping; ask again soon.", code="stopping", headers={"Retry-After": "5"}
            )
        most = settings.max_import_bytes if path.endswith("/import") else settings.max_body_bytes
        if path in PUBLIC_PATHS or path.startswith("/static/"):
            if path == "/signin":
                _check_origin(scope, headers)
            await self._app(scope, await _whole(receive, headers, most), exchange.send)
            return
        principal, by_cookie = await self._principal(headers)
        if principal is None:
            if not path.startswith("/v1/") and "text/html" in headers.get("accept", ""):
                await RedirectResponse("/signin", 303)(scope, receive, exchange.send)
                return
            raise _no_key(headers)
        exchange.key = principal.id
        if by_cookie:
            _check_origin(scope, headers)
        with self._services.rates.counted(principal):
            scope.setdefault("state", {})["principal"] = principal
            await self._app(scope, await _whole(receive, headers, most), exchange.send)

    def _check_host(self, headers: Headers) -> None:
        if "*" not in self._hosts and _host_name(headers.get("host", "")) not in self._hosts:
            msg = "Expected a Host header that this server answers to, got another; start it with --allow-host NAME."
            raise ApiError(421, msg, code="unknown_host")

    async def _principal(self, headers: Headers) -> tuple[Principal | None, bool]:
        """Who asks, and whether a cookie says so: a page of another site can make a browser send that."""
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme:
            key = self._services.keys.find(text.strip()) if scheme.lower() == "bearer" else None
            if key is None:
                return None, False
            if key.is_unnoted:
                await run_in_threadpool(self._services.keys.touch, key)
            return Principal.of_key(key), False
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)  # other programs' cookies may be malformed
        session = self._services.sign_ins.find(cookie) if cookie else None
        if session is None:
            return None, True
        key = None if session.key_id is None else self._services.keys.get(session.key_id)
        return Principal.of_session(session, key), True


class _Exchange:
    """One request and its answer, as far as the guard has to know."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self._scope = scope
        self._send = send
        self.request_id = request_id
        self.status = 500
        self.key: str | None = None
        self._started = False
        self._since = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return time.perf_counter() - self._since

    @property
    def route(self) -> str:
        """The path as its route has it, without ids."""
        path = getattr(self._scope.get("route"), "path", None)
        return path if isinstance(path, str) else "/static" if self._scope["path"].startswith("/static/") else "other"

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, with the headers of all answers."""
        if message["type"] == "http.response.start":
            self._started = True
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if not self._scope["path"].startswith("/static/"):
                headers.setdefault("cache-control", "no-store")
        await self._send(message)

    async def fail(self, error: ApiError, page: ProblemPage) -> None:
        """Answer with an error, if nothing was answered yet; else the connection breaks off."""
        if self._started:
            self.status = error.status
            return

        async def nothing() -> MutableMapping[str, Any]:
            return {"type": "http.disconnect"}

        await error_response(Request(self._scope), error, page)(self._scope, nothing, self.send)


def _host_name(host: str) -> str:
    """A Host header, or a name to allow, without its port; an IPv6 address in brackets."""
    if host.count(":") > 1 and "[" not in host:
        return f"[{host.lower()}]"
    return (host if host.endswith("]") else host.rpartition(":")[0] or host).lower()


def _no_key(headers: Headers) -> ApiError:
    given = "authorization" in headers
    what = "one that is unknown, expired or revoked" if given else "none"
    msg = f"Expected a key of this server (Authorization: Bearer la-...), got {what}; ask its admin."
    return ApiError(401, msg, code="invalid_api_key", headers={"WWW-Authenticate": 'Bearer realm="la-agents"'})


def _check_origin(scope: Scope, headers: Headers) -> None:
    """Refuse what another site's page made a browser send."""
    if scope["method"] in _SAFE_METHODS:
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        same = site == "same-origin"
    else:
        same = origin is not None and origin.partition("://")[2] == headers.get("host")
    if not same:
        msg = "Expected a request from this server's own page, got one from elsewhere; use a key instead."
        raise ApiError(403, msg, code="cross_site")


async def _whole(receive: Receive, headers: Headers, most: int) -> Receive:
    """Read the body, and return a `receive` that gives it and then whatever comes.

    Raises:
        ApiError: 413; it is too large.
    """
    too_large = ApiError(413, f"Expected a body of at most {most} bytes, got a larger one.", code="body_too_large")
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length[:18]) > most:
        raise too_large
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise too_large
        more = message.get("more_body", False)
    body: Message | None = {"type": "http.request", "body": b"".join(parts), "more_body": False}

    async def replayed() -> Message:
        nonlocal body
        message, body = body, None
        return message if message is not None else await receive()

    return replayed
