"""`POST /v1/completions`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from langchain_core.outputs import Generation
from starlette.responses import Response

from la_agents_server.answering import Question, complete, remember, streamed_completions
from la_agents_server.errors import ApiError
from la_agents_server.event_stream import DONE, event, while_connected
from la_agents_server.json_response import Json
from la_agents_server.routers.asking import described, user_of_question
from la_agents_server.services import Services, services_of
from la_agents_server.streaming import stream_response
from la_agents_server.wire.completion import (
    NEUTRAL,
    CompletionAnswer,
    CompletionChunks,
    CompletionRequest,
    completion_answer,
)
from la_agents_server.wire.logprobs import reported
from la_agents_server.wire.options import Options

__all__ = ["router"]

router = APIRouter(tags=["OpenAI"])


@router.post("/v1/completions", responses=described(CompletionAnswer), response_class=Json)
async def completions(request: Request, body: CompletionRequest) -> Response:
    """Complete texts, aligned with the preferences of their user."""
    services, questions = services_of(request), _questions(request, body)
    head: dict[str, Any] = {"id": f"cmpl-{questions[0].id}", "created": questions[0].created, "model": body.model}
    shape: dict[str, Any] = {"num_choices": questions[0].num_choices, "explain": questions[0].options.explain}
    if body.stream:
        chunks = CompletionChunks(head, body.logprobs, with_usage=body.with_usage, **shape)
        return await stream_response(request, _events(services, questions, chunks, head["id"]))
    generations = await while_connected(request.receive, lambda: complete(services, questions))
    await remember(services, questions[0], head["id"], reported(generations[0].generation_info or {}, explain=False))
    return Json(completion_answer(head, generations, body.logprobs, **shape))


async def _events(
    services: Services, questions: Sequence[Question], chunks: CompletionChunks, id: str
) -> AsyncGenerator[bytes]:
    async with aclosing(streamed_completions(services, questions)) as pieces:
        async for index, piece in pieces:
            if isinstance(piece, Generation) and index == 0:
                await remember(services, questions[0], id, reported(piece.generation_info or {}, explain=False))
            yield event(chunks.of(index, piece))
    for chunk in chunks.end():
        yield event(chunk)
    yield DONE


def _questions(request: Request, body: CompletionRequest) -> list[Question]:
    user, options = user_of_question(request, body, NEUTRAL), body.la_agents or Options()
    num_choices = body.n or 1
    if body.best_of not in (None, num_choices):
        raise ApiError(400, "Expected best_of to be n, got another number.", param="best_of", code="unsupported_value")
    if options.align_structured is not None:
        raise ApiError(400, "Expected align_structured in a chat only.", param="la_agents.align_structured")
    arguments = {**body.arguments(), "explain": None if body.logprobs is None else True}
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    return [Question(prompt, user, options, arguments, num_choices) for prompt in prompts]
