"""`POST /v1/responses`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from la_agents_server.answering import Question, remember, streamed
from la_agents_server.event_stream import event, while_connected
from la_agents_server.json_response import Json
from la_agents_server.routers.asking import conversation, described, user_of_question
from la_agents_server.services import Services, services_of
from la_agents_server.streaming import stream_response
from la_agents_server.wire.logprobs import reported
from la_agents_server.wire.response import NEUTRAL, Output, ResponseAnswer, ResponseRequest, as_format, as_turns

__all__ = ["router"]

router = APIRouter(tags=["OpenAI"])


@router.post("/v1/responses", responses=described(ResponseAnswer), response_class=Json)
async def responses(request: Request, body: ResponseRequest) -> Response:
    """Answer a conversation, aligned with the preferences of its user; nothing of it is stored."""
    services, question = services_of(request), _question(request, body)
    output = Output(body, question.id, question.created)
    events = _events(services, question, output)
    if body.stream:
        return await stream_response(request, _encoded(events), lambda error: event(output.error(error), "error"))

    async def finished() -> dict[str, Any]:
        async with aclosing(events):
            return [each async for each in events][-1]

    last = await while_connected(request.receive, finished)
    return Json(last["response"])


async def _encoded(events: AsyncGenerator[dict[str, Any]]) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        async for each in events:
            yield event(each, each["type"])


async def _events(services: Services, question: Question, output: Output) -> AsyncGenerator[dict[str, Any]]:
    has_begun = False
    async with aclosing(streamed(services, question)) as pieces:
        async for _, piece in pieces:
            for each in () if has_begun else output.begin():
                yield each
            has_begun = True
            for each in output.push(piece):
                yield each
            if "finish_reason" in piece.response_metadata:
                report = reported(piece.response_metadata, explain=question.options.explain)
                await remember(services, question, f"resp_{question.id}", report)
                for each in output.end(piece, report):
                    yield each


def _question(request: Request, body: ResponseRequest) -> Question:
    user = user_of_question(request, body, NEUTRAL)
    format_ = ("text.format", as_format(body))
    return conversation(request, body, user, as_turns(body), format_, max_tokens=body.max_output_tokens)
