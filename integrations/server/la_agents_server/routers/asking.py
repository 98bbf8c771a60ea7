"""Asking: what the routes of OpenAI's wires read of a question alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from langchain_core.messages import BaseMessage
from pydantic import BaseModel

from la_agents_server.answering import Question
from la_agents_server.services import principal_of, services_of, user_for
from la_agents_server.wire.bounds import checked_format, checked_tools
from la_agents_server.wire.neutral import refuse_what_we_lack
from la_agents_server.wire.options import Asked, Conversation, Options

__all__ = ["conversation", "described", "user_of_question"]


def described(answer: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route whose answer comes whole or as a stream of events."""
    return {200: {"model": answer, "content": {"text/event-stream": {"schema": {"type": "string"}}}}}


def user_of_question(request: Request, body: Asked, neutral: Mapping[str, tuple[Any, ...]]) -> str:
    """The user whom a question is for.

    Raises:
        ApiError: it asks for what is not there (`neutral`), for another model, or for somebody else.
    """
    refuse_what_we_lack(body.model_extra or {}, neutral)
    user = user_for(request, user=body.user, safety_identifier=body.safety_identifier)
    services_of(request).check_model(body.model)
    return user


def conversation(
    request: Request,
    body: Conversation,
    user: str,
    messages: Sequence[BaseMessage],
    response_format: tuple[str, Mapping[str, Any] | None],
    *,
    num_choices: int = 1,
    **arguments: Any,
) -> Question:
    """What to answer; the format comes with the name of its field, and `arguments` are the wire's own of the call."""
    settings = services_of(request).settings
    field, format_ = response_format
    given: dict[str, Any] = {
        **body.arguments(),
        "tools": checked_tools(body.tools, settings) or None,
        "tool_choice": body.tool_choice,
        "parallel_tool_calls": body.parallel_tool_calls,
        "response_format": checked_format(format_, settings, field),
        **arguments,
    }
    learns = principal_of(request).learns
    return Question(messages, user, body.la_agents or Options(), given, num_choices, learns)
