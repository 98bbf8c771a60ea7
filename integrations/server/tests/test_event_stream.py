"""Event streams, spoken to as an ASGI server does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from la_agents_server.event_stream import ClientGoneError, EventStream, event, while_connected
from la_agents_server.merging import merged


class Client:
    """Keeps what it is sent, and goes when it is told to."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.gone = asyncio.Event()

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def text(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


async def test_silence_is_filled_with_comments() -> None:
    client = Client()

    async def events() -> AsyncGenerator[bytes]:
        yield event({"n": 1})
        while b"\n: " not in client.text:
            await asyncio.sleep(0.001)
        yield event({"n": 2})

    await EventStream(events(), heartbeat=0.01)({}, client.receive, client.send)
    first, *comments, last, end = client.text.split(b"\n\n")
    assert (first, last, end) == (b'data: {"n":1}', b'data: {"n":2}', b"")
    assert comments
    assert all(comment.startswith(b":") for comment in comments)
    assert client.messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_a_client_that_goes_closes_the_events() -> None:
    client, closed = Client(), asyncio.Event()

    async def events() -> AsyncGenerator[bytes]:
        try:
            yield b"data: 1\n\n"
            client.gone.set()
            await asyncio.sleep(60)
        finally:
            closed.set()

    await asyncio.wait_for(EventStream(events(), heartbeat=30)({}, client.receive, client.send), 30)
    assert closed.is_set()


async def test_work_is_cancelled_when_its_client_goes_and_its_errors_come_out() -> None:
    client, cancelled = Client(), asyncio.Event()

    async def work() -> None:
        try:
            client.gone.set()
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    with pytest.raises(ClientGoneError):
        await while_connected(client.receive, work)
    assert cancelled.is_set()

    async def failing() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await while_connected(Client().receive, failing)


async def test_merged_streams_end_together() -> None:
    closed: list[int] = []

    async def numbers(place: int, count: int) -> AsyncGenerator[int]:
        try:
            for number in range(count):
                await asyncio.sleep(0)
                yield number
            if place == 2:
                raise KeyError
        finally:
            closed.append(place)

    items = [item async for item in merged([numbers(0, 3), numbers(1, 100)])]
    assert [number for place, number in items if place == 0] == [0, 1, 2]
    assert [number for place, number in items if place == 1] == list(range(100))
    closed.clear()
    with pytest.raises(KeyError):
        _ = [item async for item in merged([numbers(0, 10_000), numbers(2, 1)])]
    assert sorted(closed) == [0, 2]
