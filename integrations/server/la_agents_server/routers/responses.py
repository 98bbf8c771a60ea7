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
from la_agents_server.services import Services, principal_of, services_of, user_for
from la_agents_server.streaming import stream_response
from la_agents_server.wire.bounds import checked_format, checked_tools
from la_agents_server.wire.logprobs import reported
from la_agents_server.wire.neutral import refuse_what_we_lack
from la_agents_server.wire.options import Options
from la_agents_server.wire.response import NEUTRAL, Output, ResponseRequest, as_format, as_turns

__all__ = ["router"]

router = APIRouter(tags=["OpenAI"])


@router.post("/v1/responses", responses={200: {"content": {"text/event-stream": {}}}}, response_class=Json)
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
    settings = services_of(request).settings
    refuse_what_we_lack(body.model_extra or {}, NEUTRAL)
    user = user_for(request, user=body.user, safety_identifier=body.safety_identifier)
    services_of(request).check_model(body.model)
    options = body.la_agents or Options()
    arguments: dict[str, Any] = {
        "max_tokens": body.max_output_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "tools": checked_tools(body.tools, settings) or None,
        "tool_choice": body.tool_choice,
        "parallel_tool_calls": body.parallel_tool_calls,
        "response_format": checked_format(as_format(body), settings, "text.format"),
    }
    return Question(as_turns(body), user, options, arguments, learns=principal_of(request).learns)
