"""Messages: OpenAI's turns, checked, and as LangChain's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel, ConfigDict, Field

from la_agents_server.errors import ApiError

__all__ = ["FunctionCall", "Message", "RefusalPart", "TextPart", "as_arguments", "as_messages", "as_text"]


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True)


class TextPart(_Wire):
    """Text; images, audio and files are nothing that the model reads."""

    type: Literal["text", "input_text", "output_text"]
    text: str


class RefusalPart(_Wire):
    """What a model said instead of an answer."""

    type: Literal["refusal"]
    refusal: str


Content = str | list[TextPart]


class _System(_Wire):
    role: Literal["system", "developer"]
    content: Content
    name: str | None = None


class _User(_Wire):
    role: Literal["user"]
    content: Content
    name: str | None = None


class FunctionCall(_Wire):
    """What a model called."""

    name: str
    arguments: str


class _Call(_Wire):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class _Assistant(_Wire):
    role: Literal["assistant"]
    content: str | list[TextPart | RefusalPart] | None = None
    name: str | None = None
    tool_calls: list[_Call] | None = None


class _Tool(_Wire):
    role: Literal["tool"]
    content: Content
    tool_call_id: str


Message = Annotated[_System | _User | _Assistant | _Tool, Field(discriminator="role")]


def as_text(content: str | Sequence[TextPart | RefusalPart] | None) -> str:
    """The text of a message's content."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text if isinstance(part, TextPart) else part.refusal for part in content)


def as_messages(messages: Sequence[Message]) -> list[BaseMessage]:
    """LangChain's messages.

    Raises:
        ApiError: a call's arguments are no JSON object.
    """
    return [_as_message(message, place) for place, message in enumerate(messages)]


def _as_message(message: Message, place: int) -> BaseMessage:
    text = as_text(message.content)
    if isinstance(message, _System):
        return SystemMessage(text, name=message.name)
    if isinstance(message, _User):
        return HumanMessage(text, name=message.name)
    if isinstance(message, _Tool):
        return ToolMessage(text, tool_call_id=message.tool_call_id)
    calls = [
        {
            "name": c.function.name,
            "args": as_arguments(c.function.arguments, f"messages[{place}].tool_calls"),
            "id": c.id,
        }
        for c in message.tool_calls or ()
    ]
    return AIMessage(text, name=message.name, tool_calls=calls)


def as_arguments(text: str, param: str) -> dict[str, Any]:
    """A call's arguments.

    Raises:
        ApiError: they are no JSON object.
    """
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise ApiError(400, "Expected a call's arguments to be a JSON object, got something else.", param=param)
    return arguments
