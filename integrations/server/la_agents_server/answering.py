"""Answering: one question, whichever wire it came by, to the model and back; whole, or as it is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import Generation, LLMResult
from starlette.concurrency import run_in_threadpool

from la_agents import Principle
from la_agents_server.errors import ApiError
from la_agents_server.merging import merged
from la_agents_server.services import Services
from la_agents_server.wire.options import Options

__all__ = ["Question", "complete", "remember", "streamed", "streamed_completions", "whole"]

T = TypeVar("T")
MessageT = TypeVar("MessageT", bound=AIMessage)


@dataclass(frozen=True, slots=True)
class Question:
    """What to answer, and for whom.

    Attributes:
        source: The conversation, or a text to complete.
        user: Whose preferences count.
        options: The object `la_agents`.
        arguments: Further arguments of the call, None where the model's own count.
        num_choices: How many answers.
        learns: Whether the user's words are read for preferences.
        id: What identifies the answer; the wires put their prefix before it.
        created: When it was asked, in seconds since 1970.
    """

    source: Sequence[BaseMessage] | str
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
        if isinstance(self.source, str):
            return self.source
        return next((str(m.text) for m in reversed(self.source) if isinstance(m, HumanMessage)), "")


async def whole(services: Services, question: Question) -> list[AIMessage]:
    """The finished answers, one a choice; a wait that is cancelled cancels them."""
    chat = services.chat if _uses_memory(question) else services.plain_chat
    calls = await _calls(services, question)
    messages = await _together([chat.ainvoke([*question.source], **call) for call in calls])
    return [_as_finished(question, message) for message in messages]


async def streamed(services: Services, question: Question) -> AsyncGenerator[tuple[int, AIMessageChunk]]:
    """Pieces of the answers with their choice's index, as they are written."""
    chat = services.chat if _uses_memory(question) else services.plain_chat
    calls = await _calls(services, question)
    async with aclosing(merged([chat.astream([*question.source], **call) for call in calls])) as pieces:
        async for index, piece in pieces:
            yield index, _as_finished(question, piece)


async def complete(services: Services, questions: Sequence[Question]) -> list[Generation]:
    """Finished completions: all choices of the first question, then those of the next."""
    running = []
    for question in questions:
        llm = services.completion if _uses_memory(question) else services.plain_completion
        running += [llm.agenerate([str(question.source)], **call) for call in await _calls(services, question)]
    return [result.generations[0][0] for result in await _together(running)]


async def streamed_completions(
    services: Services, questions: Sequence[Question]
) -> AsyncGenerator[tuple[int, str | Generation]]:
    """Texts of completions with their place among all choices, and at the end of each what `complete` gives."""

    async def follow(question: Question, call: dict[str, Any]) -> AsyncIterator[str | Generation]:
        llm = services.completion if _uses_memory(question) else services.plain_completion
        ended = _Ended()
        async for text in llm.astream(str(question.source), {"callbacks": [ended]}, **call):
            yield text
        if ended.generation is not None:
            yield ended.generation

    streams = [follow(question, call) for question in questions for call in await _calls(services, question)]
    async with aclosing(merged(streams)) as pieces:
        async for piece in pieces:
            yield piece


class _Ended(AsyncCallbackHandler):
    """Catches what a streamed completion ends with: LangChain streams its text alone."""

    generation: Generation | None = None

    async def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        self.generation = response.generations[0][0]


async def remember(services: Services, question: Question, id: str, report: dict[str, Any]) -> None:
    """Note what a finished answer used, under the id that the client has, and learn if that is wanted."""
    await run_in_threadpool(services.answers.note, id, question.user, report)
    if question.learns and question.query:
        said, user = [HumanMessage(question.query)], question.user
        # They are learned in the order in which they came: the last one's end is all others' end.
        services.learning[user] = await run_in_threadpool(services.learner.submit, said, user_id=user)


def _as_finished(question: Question, message: MessageT) -> MessageT:
    """An answer of a format that ran into its length was brought to an end that follows the format.

    Clients take "length" for JSON that breaks off, and refuse to read it.
    """
    if question.arguments.get("response_format") and message.response_metadata.get("finish_reason") == "length":
        message.response_metadata["finish_reason"] = "stop"
    return message


async def _together(running: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results; when one fails, or the wait is cancelled, so are the others."""
    tasks = [asyncio.create_task(each) for each in running]
    try:
        return [*await asyncio.gather(*tasks)]
    finally:
        for task in tasks:
            task.cancel()


def _uses_memory(question: Question) -> bool:
    """Whether the model itself is to look preferences up; where some are left out, `_calls` has done so."""
    return question.options.memory and not question.options.without


async def _calls(services: Services, question: Question) -> list[dict[str, Any]]:
    """The arguments of each choice's call."""
    most = services.settings.max_choices
    if question.num_choices > most:
        raise ApiError(400, f"Expected n to be at most {most}, got {question.num_choices}.", param="n")
    given = {name: value for name, value in question.arguments.items() if value is not None}
    arguments = {**question.options.arguments(), **given, "user_id": question.user}
    if question.options.memory and question.options.without:
        arguments["principles"] = await _principles(services, question)
    seed = arguments.pop("seed", None)
    seeds = [{} if seed is None else {"seed": (seed + place) % 2**63} for place in range(question.num_choices)]
    return [arguments | own for own in seeds]


async def _principles(services: Services, question: Question) -> list[str | Principle]:
    """What the answer is aligned with, but for the preferences that it is to leave out; those that are locked stay."""
    found = await services.store.aretrieve(question.user, question.query, k=services.chat.max_principles)
    left_out = question.options.without
    kept = [each for each in found if each.preference.locked or each.preference.id not in left_out]
    return [
        *(question.options.principles or ()),
        *(s.principle for s in kept),
    ]
