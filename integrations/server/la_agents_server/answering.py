"""Answering: one question, whichever wire it came by, to the chat model and back; whole, or as it is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from starlette.concurrency import run_in_threadpool

from la_agents import ChatLinearAlignment, Principle
from la_agents_server.errors import ApiError
from la_agents_server.services import Services
from la_agents_server.wire.options import Options

__all__ = ["Question", "remember", "streamed", "whole"]

Piece = tuple[int, AIMessageChunk]


@dataclass(frozen=True, slots=True)
class Question:
    """What to answer, and for whom.

    Attributes:
        messages: The conversation.
        user: Whose preferences count.
        options: The object `la_agents`.
        arguments: Further arguments of the call, None where the model's own count.
        num_choices: How many answers.
        learns: Whether the user's words are read for preferences.
        id: What identifies the answer; the wires put their prefix before it.
        created: When it was asked, in seconds since 1970.
    """

    messages: list[BaseMessage]
    user: str
    options: Options
    arguments: dict[str, Any]
    num_choices: int = 1
    learns: bool = False
    id: str = field(default_factory=lambda: uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def query(self) -> str:
        """What the user said last."""
        return next((str(m.text) for m in reversed(self.messages) if isinstance(m, HumanMessage)), "")


async def whole(services: Services, question: Question) -> list[AIMessage]:
    """The finished answers, one a choice; a wait that is cancelled cancels them."""
    face, calls = await _calls(services, question)
    running = [asyncio.create_task(face.ainvoke(question.messages, **call)) for call in calls]
    try:
        return [*await asyncio.gather(*running)]
    finally:
        for task in running:
            task.cancel()


async def streamed(services: Services, question: Question) -> AsyncGenerator[Piece]:
    """Pieces of the answers with their choice's index, as they are written."""
    face, calls = await _calls(services, question)
    streams = [face.astream(question.messages, **call) for call in calls]
    if len(streams) == 1:
        async with aclosing(streams[0]) as stream:  # type: ignore[type-var]
            async for piece in stream:
                yield 0, piece
        return
    async with aclosing(_merged(streams)) as pieces:
        async for choice in pieces:
            yield choice


async def remember(services: Services, question: Question, id: str, report: dict[str, Any]) -> None:
    """Note what a finished answer used, under the id that the client has, and learn if that is wanted."""
    await run_in_threadpool(services.answers.note, id, question.user, report)
    if question.learns and question.query:
        await run_in_threadpool(services.learner.submit, [HumanMessage(question.query)], user_id=question.user)


async def _calls(services: Services, question: Question) -> tuple[ChatLinearAlignment, list[dict[str, Any]]]:
    """The model, and the arguments of each choice's call."""
    most = services.settings.max_choices
    if question.num_choices > most:
        raise ApiError(400, f"Expected n to be at most {most}, got {question.num_choices}.", param="n")
    given = {name: value for name, value in question.arguments.items() if value is not None}
    arguments = {**question.options.arguments(), **given, "user_id": question.user}
    face = services.chat if question.options.memory else services.plain_chat
    if question.options.memory and question.options.without:
        face = services.plain_chat
        arguments["principles"] = await _principles(services, question)
    calls = [dict(arguments) for _ in range(question.num_choices)]
    if "seed" in arguments:
        for place, call in enumerate(calls):
            call["seed"] += place  # each choice its own
    return face, calls


async def _principles(services: Services, question: Question) -> list[str | Principle]:
    """What the answer is aligned with, but for the preferences that it is to leave out."""
    found = await services.store.aretrieve(question.user, question.query, k=services.chat.max_principles)
    kept = [scored for scored in found if scored.preference.id not in question.options.without]
    return [
        *(question.options.principles or ()),
        *(Principle(s.preference.text, s.weight, s.preference.id, s.relevance, s.layer) for s in kept),
    ]


async def _merged(streams: list[AsyncIterator[AIMessageChunk]]) -> AsyncGenerator[Piece]:
    """The pieces of several streams as they come."""
    queue: asyncio.Queue[Piece | BaseException | None] = asyncio.Queue(maxsize=len(streams) * 4)

    async def follow(index: int, stream: AsyncIterator[AIMessageChunk]) -> None:
        try:
            async for piece in stream:
                await queue.put((index, piece))
            await queue.put(None)
        except Exception as error:  # noqa: BLE001 - raised again by whoever reads the queue
            await queue.put(error)

    running = [asyncio.create_task(follow(index, stream)) for index, stream in enumerate(streams)]
    try:
        open_streams = len(running)
        while open_streams:
            item = await queue.get()
            if item is None:
                open_streams -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
