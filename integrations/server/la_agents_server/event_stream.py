"""Event stream: server-sent events, a heartbeat in silence, and an end as soon as nobody listens."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["DONE", "ClientGoneError", "EventStream", "event", "while_connected"]

T = TypeVar("T")

DONE = b"data: [DONE]\n\n"


class ClientGoneError(Exception):
    """The client closed the connection."""


def event(value: Any, name: str | None = None) -> bytes:
    """One event with a JSON value."""
    head = "" if name is None else f"event: {name}\n"
    return f"{head}data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()


async def while_connected(receive: Receive, work: Callable[[], Awaitable[T]]) -> T:
    """Await `work`, and cancel it when the client goes; the body must have been read.

    Raises:
        ClientGoneError: the client went.
    """
    done: list[T] = []

    async def watch() -> None:
        await _gone(receive)
        group.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            done.append(await work())
            group.cancel_scope.cancel()
    except ExceptionGroup as errors:  # anyio's form; there is one task that can fail
        raise errors.exceptions[0] from None
    if not done:
        raise ClientGoneError
    return done[0]


class EventStream(Response):
    """Sends events as they come.

    Args:
        events: Encoded events; closed at the end, or when the client goes.
        heartbeat: Seconds of silence after which a comment is sent.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], heartbeat: float) -> None:
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._heartbeat = heartbeat
        self._last = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

        async def watch() -> None:
            await _gone(receive)
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            group.start_soon(self._keep_alive, send)
            try:
                async for part in self._events:
                    await self._part(send, part)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                with anyio.CancelScope(shield=True):
                    await self._events.aclose()
            group.cancel_scope.cancel()

    async def _part(self, send: Send, part: bytes) -> None:
        self._last = time.monotonic()
        await send({"type": "http.response.body", "body": part, "more_body": True})

    async def _keep_alive(self, send: Send) -> None:
        self._last = time.monotonic()
        while True:
            await anyio.sleep(self._last + self._heartbeat - time.monotonic())
            if time.monotonic() - self._last >= self._heartbeat:
                await self._part(send, b": still here\n\n")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
