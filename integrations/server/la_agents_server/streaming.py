"""Streaming: the first event is awaited before the status is sent, so that refusals stay real statuses."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from la_agents_server.errors import as_api_error
from la_agents_server.event_stream import EventStream, event, while_connected
from la_agents_server.services import services_of

__all__ = ["stream_response"]


def _plain_error(body: dict[str, Any]) -> bytes:
    return event(body, "error")


async def stream_response(
    request: Request,
    events: AsyncGenerator[bytes],
    error_event: Callable[[dict[str, Any]], bytes] = _plain_error,
) -> Response:
    """The response that sends these events.

    Args:
        request: What is answered.
        events: Encoded events; the first of them proves that the answer has begun.
        error_event: How an error is told that comes after the first event.
    """
    services, since = services_of(request), time.perf_counter()
    try:
        first = await while_connected(request.receive, lambda: anext(events))
    except BaseException:
        await events.aclose()
        raise
    services.metrics.first_token.observe(time.perf_counter() - since)

    async def all_events() -> AsyncGenerator[bytes]:
        try:
            yield first
            async for part in events:
                yield part
        except Exception as error:  # noqa: BLE001 - told to the client, and logged there
            yield error_event(as_api_error(error).body)
        finally:
            await events.aclose()

    return EventStream(all_events(), services.settings.heartbeat_seconds)
