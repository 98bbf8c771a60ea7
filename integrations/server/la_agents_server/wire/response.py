"""Responses: OpenAI's newer wire. The request, and the answer as the events that build it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from la_agents_server.wire.chat import usage_of
from la_agents_server.wire.endings import OwnFields, own_fields
from la_agents_server.wire.messages import RefusalPart, TextPart, as_arguments, as_text
from la_agents_server.wire.numbers import WHOLE
from la_agents_server.wire.options import Conversation

__all__ = ["NEUTRAL", "Output", "ResponseAnswer", "ResponseRequest", "as_format", "as_turns"]

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "background": (False,),
    "conversation": (),
    "include": ([], ["reasoning.encrypted_content"]),
    "max_tool_calls": (),
    "previous_response_id": (),
    "prompt": (),
    "reasoning": ({}, {"effort": "none"}),
    "service_tier": ("auto", "default"),
    "top_logprobs": (0,),
    "truncation": ("disabled", "auto"),
}
"""Fields that are taken only where they ask for nothing; nothing is stored, whatever `store` says."""


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True)


class _Turn(_Wire):
    type: Literal["message"] | None = None
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Annotated[TextPart | RefusalPart, Field(discriminator="type")]]


class _Call(_Wire):
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class _Result(_Wire):
    type: Literal["function_call_output"]
    call_id: str
    output: str | list[TextPart]


class _Reasoning(_Wire):
    """What a model thought; this one reads no other's thoughts."""

    type: Literal["reasoning"]


class _Format(_Wire):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    json_schema_: dict[str, JsonValue] | None = Field(default=None, alias="schema")


class _Text(_Wire):
    format: _Format | None = None
    verbosity: Literal["medium"] | None = None


class ResponseRequest(Conversation):
    """The body of `POST /v1/responses`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "smollm2-135m-instruct", "input": "Good morning!"}]}
    )

    input: str | Annotated[list[_Turn | _Call | _Result | _Reasoning], Field(min_length=1, max_length=10_000)]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=2**31), WHOLE] | None = None
    text: _Text | None = None
    metadata: dict[str, str] | None = None


class ResponseAnswer(BaseModel):
    """A response as `Output` builds it; what OpenAI has beside, such as `background`, is left out."""

    model_config = ConfigDict(extra="forbid")

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete"]
    error: None
    incomplete_details: dict[str, str] | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: list[dict[str, JsonValue]]
    parallel_tool_calls: bool
    previous_response_id: None
    store: Literal[False]
    temperature: float | None
    text: dict[str, JsonValue]
    tool_choice: str | dict[str, JsonValue]
    tools: list[dict[str, JsonValue]]
    top_p: float | None
    truncation: Literal["disabled"]
    usage: dict[str, JsonValue]
    la_agents: OwnFields


def as_turns(request: ResponseRequest) -> list[BaseMessage]:
    """LangChain's messages; calls that follow each other belong to one answer.

    Raises:
        ApiError: a call's arguments are no JSON object.
    """
    turns: list[BaseMessage] = [SystemMessage(request.instructions)] if request.instructions else []
    if isinstance(request.input, str):
        return [*turns, HumanMessage(request.input)]
    for place, item in enumerate(request.input):
        if isinstance(item, _Result):
            turns.append(ToolMessage(as_text(item.output), tool_call_id=item.call_id))
        elif isinstance(item, _Call):
            arguments = as_arguments(item.arguments, f"input[{place}].arguments")
            call = {"name": item.name, "args": arguments, "id": item.call_id}
            if turns and isinstance(turns[-1], AIMessage):
                before = turns.pop()
                turns.append(AIMessage(before.text, tool_calls=[*getattr(before, "tool_calls", ()), call]))
            else:
                turns.append(AIMessage("", tool_calls=[call]))
        elif isinstance(item, _Turn):
            kinds = {"user": HumanMessage, "assistant": AIMessage}
            turns.append(kinds.get(item.role, SystemMessage)(as_text(item.content)))
    return turns


def as_format(request: ResponseRequest) -> dict[str, Any] | None:
    """The format in the form that chat completions have."""
    format_ = request.text.format if request.text else None
    if format_ is None or format_.type != "json_schema":
        return None if format_ is None else {"type": format_.type}
    return {"type": "json_schema", "json_schema": {"schema": format_.json_schema_}}


class Output:
    """The output of one response while it is written: text, then calls.

    Args:
        request: What was asked.
        id: The answer's, without a prefix.
        created: Seconds since 1970.
    """

    def __init__(self, request: ResponseRequest, id: str, created: int) -> None:
        self._request = request
        self._id = id
        self._created = created
        self._items: list[dict[str, Any]] = []
        self._number = 0

    def begin(self) -> Iterator[dict[str, Any]]:
        """The events before the first token."""
        yield self._event("response.created", response=self.response("in_progress"))
        yield self._event("response.in_progress", response=self.response("in_progress"))

    def push(self, piece: AIMessageChunk) -> Iterator[dict[str, Any]]:
        """The events of what a piece adds."""
        if text := str(piece.text):
            if not self._items or self._items[-1]["type"] != "message":
                yield from self._close()
                yield from self._open_message()
            item = self._items[-1]
            item["content"][0]["text"] += text
            yield self._event("response.output_text.delta", **self._part(), delta=text, logprobs=[])
        for call in piece.tool_call_chunks:
            if call["name"]:
                yield from self._close()
                yield from self._open_call(call["name"], str(call["id"]))
            if call["args"]:
                self._items[-1]["arguments"] += call["args"]
                yield self._event("response.function_call_arguments.delta", **self._place(), delta=call["args"])

    def end(self, last: AIMessageChunk, report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The events after the last piece."""
        if not self._items:
            yield from self._open_message()
        cut = last.response_metadata["finish_reason"] == "length"
        yield from self._close("incomplete" if cut else "completed")
        status = "incomplete" if cut else "completed"
        yield self._event(f"response.{status}", response=self.response(status, last, report))

    def response(
        self, status: str, last: AIMessage | None = None, report: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The response as it is now."""
        request = self._request
        format_ = request.text.format if request.text else None
        known: dict[str, Any] = {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata or {},
            "model": request.model,
            "output": [dict(item) for item in self._items],
            "parallel_tool_calls": request.parallel_tool_calls is not False,
            "previous_response_id": None,
            "store": False,
            "temperature": request.temperature,
            "text": {"format": (format_ or _Format(type="text")).model_dump(by_alias=True, exclude_none=True)},
            "tool_choice": request.tool_choice or "auto",
            "tools": request.tools or [],
            "top_p": request.top_p,
            "truncation": "disabled",
            "usage": None,
        }
        if last is not None:
            usage = usage_of(last)
            known["usage"] = {
                "input_tokens": usage["prompt_tokens"],
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": usage["completion_tokens"],
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage["prompt_tokens"] + usage["completion_tokens"],
            }
            known["la_agents"] = own_fields([last.response_metadata], [report or {}])
        return known

    def error(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The event of an error that ends the stream."""
        error = body["error"]
        return self._event("error", code=error["code"], message=error["message"], param=error["param"])

    def _open_message(self) -> Iterator[dict[str, Any]]:
        item: dict[str, Any] = {"id": f"msg_{self._id}_{len(self._items)}", "type": "message", "role": "assistant"}
        item |= {"status": "in_progress", "content": []}
        self._items.append(item)
        yield self._event("response.output_item.added", output_index=len(self._items) - 1, item={**item, "content": []})
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        item["content"].append(part)
        yield self._event("response.content_part.added", **self._part(), part=dict(part))

    def _open_call(self, name: str, id: str) -> Iterator[dict[str, Any]]:
        item = {"id": f"fc_{self._id}_{len(self._items)}", "type": "function_call", "status": "in_progress"}
        item |= {"call_id": id, "name": name, "arguments": ""}
        self._items.append(item)
        yield self._event("response.output_item.added", output_index=len(self._items) - 1, item=dict(item))

    def _close(self, status: str = "completed") -> Iterator[dict[str, Any]]:
        if not self._items or self._items[-1]["status"] != "in_progress":
            return
        item = self._items[-1]
        item["status"] = status
        if item["type"] == "message":
            part = item["content"][0]
            yield self._event("response.output_text.done", **self._part(), text=part["text"], logprobs=[])
            yield self._event("response.content_part.done", **self._part(), part=dict(part))
        else:
            named = {"name": item["name"], "arguments": item["arguments"]}
            yield self._event("response.function_call_arguments.done", **self._place(), **named)
        yield self._event("response.output_item.done", output_index=len(self._items) - 1, item=dict(item))

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._items[-1]["id"], "output_index": len(self._items) - 1}

    def _part(self) -> dict[str, Any]:
        return {**self._place(), "content_index": 0}

    def _event(self, type: str, **values: Any) -> dict[str, Any]:
        number, self._number = self._number, self._number + 1
        return {"type": type, "sequence_number": number, **values}
