"""Errors over HTTP: every one in OpenAI's body, with the status that clients act on."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from la_agents import errors as library

__all__ = ["ApiError", "ErrorBody", "ProblemPage", "add_error_handlers", "as_api_error", "error_response"]

logger = logging.getLogger(__name__)


class ErrorDetail(BaseModel):
    """What went wrong, in OpenAI's form."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorDetail


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: The HTTP status.
        message: What was expected, what came, what to do; never another user's text, never a key.
        code: What a program may ask for.
        param: The field of the request that is at fault.
        headers: Further headers, such as Retry-After.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        detail = ErrorDetail(message=self.message, type=kind, param=self.param, code=self.code)
        return ErrorBody(error=detail).model_dump()


_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}

_BUSY = {"Retry-After": "1"}
_STATUSES: Sequence[tuple[type[library.LaAgentsError], int, str | None, Mapping[str, str]]] = (
    (library.PreferenceNotFoundError, 404, "not_found", {}),
    (library.RequestTooLargeError, 400, "context_length_exceeded", {}),
    (library.ConfigurationError, 400, None, {}),
    (library.PromptError, 400, None, {}),
    (library.InvalidPreferenceError, 400, None, {}),
    (library.UserNotSpecifiedError, 400, "user_not_specified", {}),
    (library.IncompleteAnswerError, 400, "max_tokens_too_small", {}),
    (library.EngineBusyError, 503, "busy", _BUSY),
    (library.EngineClosedError, 503, "stopping", _BUSY),
    (library.StoreUnavailableError, 503, "store_unavailable", _BUSY),
    (library.DeadlineExceededError, 504, "timeout", {}),
)


def as_api_error(error: BaseException) -> ApiError:
    """Any exception as an answer; what nobody foresaw says nothing of itself, and is logged."""
    if isinstance(error, ApiError):
        return error
    for kind, status, code, headers in _STATUSES:
        if isinstance(error, kind):
            return ApiError(status, str(error), code=code, headers=headers)
    if isinstance(error, library.GenerationError) and error.__cause__ is None:
        return ApiError(400, str(error), code="unusable_answer")  # of a schema that decoding cannot keep to
    _log_failure(error)
    return ApiError(500, "The server failed on this request; its log has the reason.", code="internal_error")


def _log_failure(error: BaseException) -> None:
    """Log where an exception came from; its message may hold a user's text and is left out."""
    where = [
        f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)[-8:]
    ]
    logger.error("%s at %s", type(error).__name__, " < ".join(reversed(where)))


ProblemPage = Callable[[Request, ApiError], Response]
"""What a browser is shown for an error."""


def error_response(request: Request, error: ApiError, page: ProblemPage) -> Response:
    """The answer: a page for who reads pages, else JSON in OpenAI's form."""
    if not request.url.path.startswith("/v1/") and "text/html" in request.headers.get("accept", ""):
        return page(request, error)
    # ASCII, since a field's name may hold what UTF-8 cannot.
    return Response(json.dumps(error.body), error.status, headers=error.headers, media_type="application/json")


def add_error_handlers(app: FastAPI, page: ProblemPage) -> None:
    """Let whatever a route raises be answered in OpenAI's form, or by this page."""

    async def on_error(request: Request, error: Exception) -> Response:
        return error_response(request, as_api_error(error), page)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        param = _place(first["loc"])
        message = f"Expected a valid {param or 'body'}: {_reason(first)}."
        return error_response(request, ApiError(400, message, code="invalid_value", param=param), page)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = {404: "Expected one of this server's paths, got another; see /openapi.json."}.get(
            error.status_code, str(error.detail)
        )
        code = "not_found" if error.status_code == 404 else None
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(_methods(request)))
        return error_response(request, ApiError(error.status_code, message, code=code, headers=headers), page)

    for kind in (ApiError, library.LaAgentsError):
        app.add_exception_handler(kind, on_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def _methods(request: Request) -> set[str]:
    """What a path answers to; Starlette names the methods of its first route alone."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return found


def _reason(error: Mapping[str, Any]) -> str:
    reasons = {
        "json_invalid": "it is no JSON",
        "missing": "it is missing",
        "extra_forbidden": "there is no such field",
    }
    reason = reasons.get(error["type"], str(error["msg"]).removeprefix("Value error, ").rstrip("."))
    return reason[:1].lower() + reason[1:]


def _place(location: Sequence[str | int]) -> str | None:
    """Where in the request: `messages[0].content`."""
    parts = [part for part in location if part not in ("body", "query", "path", "header")]
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".") or None
