"""`POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from la_agents_server.answering import Question, remember, streamed, whole
from la_agents_server.event_stream import DONE, event, while_connected
from la_agents_server.json_response import Json
from la_agents_server.routers.asking import conversation, described, user_of_question
from la_agents_server.services import Services, services_of
from la_agents_server.streaming import stream_response
from la_agents_server.wire.chat import NEUTRAL, ChatAnswer, ChatRequest, Chunks, chat_answer
from la_agents_server.wire.logprobs import reported
from la_agents_server.wire.messages import as_messages

__all__ = ["router"]

router = APIRouter(tags=["OpenAI"])


@router.post("/v1/chat/completions", responses=described(ChatAnswer), response_class=Json)
async def chat_completions(request: Request, body: ChatRequest) -> Response:
    """Answer a conversation, aligned with the preferences of its user."""
    services, question = services_of(request), _question(request, body)
    head: dict[str, Any] = {"id": f"chatcmpl-{question.id}", "created": question.created, "model": body.model}
    num_top = (body.top_logprobs or 0) if body.logprobs else None
    explain = question.options.explain
    if body.stream:
        chunks = Chunks(head, num_top, with_usage=body.with_usage)
        return await stream_response(request, _events(services, question, chunks, explain=explain))
    messages = await while_connected(request.receive, lambda: whole(services, question))
    reports = [reported(message.response_metadata, explain=explain) for message in messages]
    await remember(services, question, head["id"], reports[0])
    return Json(chat_answer(head, messages, reports, num_top))


async def _events(services: Services, question: Question, chunks: Chunks, *, explain: bool) -> AsyncGenerator[bytes]:
    async with aclosing(streamed(services, question)) as pieces:
        async for index, piece in pieces:
            ended = "finish_reason" in piece.response_metadata
            report = reported(piece.response_metadata, explain=explain) if ended else None
            if report is not None and index == 0:  # before the client has it, and may rate it
                await remember(services, question, f"chatcmpl-{question.id}", report)
            for chunk in chunks.of(index, piece, report):
                yield event(chunk)
    for chunk in chunks.end():
        yield event(chunk)
    yield DONE


def _question(request: Request, body: ChatRequest) -> Question:
    user = user_of_question(request, body, NEUTRAL)
    return conversation(
        request,
        body,
        user,
        as_messages(body.messages),
        ("response_format", body.response_format),
        num_choices=body.n or 1,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        explain=True if body.logprobs else None,
    )
