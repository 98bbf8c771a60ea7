"""Merging: several streams as one, their items in the order in which they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import TypeVar

__all__ = ["merged"]

T = TypeVar("T")


async def merged(streams: Sequence[AsyncIterator[T]]) -> AsyncGenerator[tuple[int, T]]:
    """Items with their stream's place; an error of one ends all, and so does closing this."""
    if len(streams) == 1:
        async with aclosing(streams[0]) as stream:  # type: ignore[type-var]
            async for item in stream:
                yield 0, item
        return
    queue: asyncio.Queue[tuple[int, T] | Exception | None] = asyncio.Queue(maxsize=len(streams) * 4)

    async def follow(place: int, stream: AsyncIterator[T]) -> None:
        try:
            async for item in stream:
                await queue.put((place, item))
            await queue.put(None)
        except Exception as error:  # noqa: BLE001 - raised again by whoever reads the queue
            await queue.put(error)

    running = [asyncio.create_task(follow(place, stream)) for place, stream in enumerate(streams)]
    try:
        num_open = len(running)
        while num_open:
            entry = await queue.get()
            if isinstance(entry, Exception):
                raise entry
            if entry is None:
                num_open -= 1
            else:
                yield entry
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
