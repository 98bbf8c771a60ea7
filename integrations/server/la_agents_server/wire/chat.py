"""Chat completions: the request, and the answer whole and in chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage, AIMessageChunk
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from la_agents_server.wire.endings import FinishReason, OwnFields, own_fields, wire_reason
from la_agents_server.wire.logprobs import chat_logprobs
from la_agents_server.wire.messages import FunctionCall, Message
from la_agents_server.wire.numbers import WHOLE
from la_agents_server.wire.options import Conversation, Sampled

__all__ = ["NEUTRAL", "ChatAnswer", "ChatRequest", "Chunks", "Usage", "chat_answer", "usage_of"]

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "prediction": (),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""Fields that are taken only where they ask for nothing."""


class ChatRequest(Conversation, Sampled):
    """The body of `POST /v1/chat/completions`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "smollm2-135m-instruct", "messages": [{"role": "user", "content": "Good morning!"}]}]
        },
    )

    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**31), WHOLE] | None = None
    response_format: dict[str, JsonValue] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=5), WHOLE] | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Usage(_Answer):
    """Tokens of the prompt and of all choices."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class _CallView(_Answer):
    id: str | None
    type: Literal["function"]
    function: FunctionCall


class _AnswerMessage(_Answer):
    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: list[_CallView] = Field(default_factory=list)


class _Choice(_Answer):
    index: int
    message: _AnswerMessage
    logprobs: dict[str, JsonValue] | None
    finish_reason: FinishReason


class ChatAnswer(_Answer):
    """A whole answer, as `chat_answer` writes it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[_Choice]
    usage: Usage
    la_agents: OwnFields


def usage_of(message: AIMessage) -> dict[str, int]:
    """The tokens of one choice."""
    usage = message.usage_metadata
    return {
        "prompt_tokens": usage["input_tokens"] if usage else 0,
        "completion_tokens": usage["output_tokens"] if usage else 0,
    }


def _usage(parts: Sequence[dict[str, int]]) -> dict[str, Any]:
    """Of all choices; they share their prompt."""
    prompt, answers = max(p["prompt_tokens"] for p in parts), sum(p["completion_tokens"] for p in parts)
    return {"prompt_tokens": prompt, "completion_tokens": answers, "total_tokens": prompt + answers}


def _call(name: str | None, arguments: str, id: str | None) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def chat_answer(
    head: Mapping[str, Any], messages: Sequence[AIMessage], reports: Sequence[dict[str, Any]], num_top: int | None
) -> dict[str, Any]:
    """A whole answer.

    Args:
        head: `id`, `created` and `model`.
        messages: One a choice.
        reports: What alignment did, one a choice, for the object `la_agents`.
        num_top: How many likeliest tokens are listed with each; None for no logprobs.
    """
    choices = []
    for index, message in enumerate(messages):
        calls = [_call(c["name"], json.dumps(c["args"], ensure_ascii=False), c["id"]) for c in message.tool_calls]
        calls += [_call(c["name"], c["args"] or "", c["id"]) for c in message.invalid_tool_calls]
        answer: dict[str, Any] = {"role": "assistant", "content": str(message.text), "refusal": None}
        if calls:
            answer |= {"content": answer["content"] or None, "tool_calls": calls}
        choices.append(
            {
                "index": index,
                "message": answer,
                "logprobs": chat_logprobs(message.response_metadata, num_top),
                "finish_reason": wire_reason(message.response_metadata),
            }
        )
    return {
        **head,
        "object": "chat.completion",
        "choices": choices,
        "usage": _usage([usage_of(message) for message in messages]),
        "la_agents": own_fields([message.response_metadata for message in messages], reports),
    }


class Chunks:
    """The chunks of a streamed answer, one after the other.

    Args:
        head: `id`, `created` and `model`.
        num_top: As in `chat_answer`.
        with_usage: Whether a last chunk without choices says how many tokens there were.
    """

    def __init__(self, head: Mapping[str, Any], num_top: int | None, *, with_usage: bool) -> None:
        self._head = {**head, "object": "chat.completion.chunk"}
        self._num_top = num_top
        self._with_usage = with_usage
        self._begun: set[int] = set()
        self._usages: list[dict[str, int]] = []

    def of(self, index: int, piece: AIMessageChunk, report: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
        """What a piece of a choice adds; the last piece of a choice comes with its report."""
        if index not in self._begun:
            self._begun.add(index)
            yield self._chunk(index, {"role": "assistant", "content": ""})
        if text := str(piece.text):
            yield self._chunk(index, {"content": text})
        for call in piece.tool_call_chunks:
            function = (
                {"name": call["name"], "arguments": call["args"] or ""}
                if call["name"]
                else {"arguments": call["args"] or ""}
            )
            first = {"id": call["id"], "type": "function"} if call["id"] else {}
            yield self._chunk(index, {"tool_calls": [{"index": call["index"], **first, "function": function}]})
        if report is None:
            return
        self._usages.append(usage_of(piece))
        last = self._chunk(index, {}, wire_reason(piece.response_metadata))
        last["choices"][0]["logprobs"] = chat_logprobs(piece.response_metadata, self._num_top)
        yield last | {"la_agents": own_fields([piece.response_metadata], [report])}

    def end(self) -> Iterator[dict[str, Any]]:
        """What follows the last piece."""
        if self._with_usage:
            yield {**self._head, "choices": [], "usage": _usage(self._usages)}

    def _chunk(self, index: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._head, "choices": [choice], **({"usage": None} if self._with_usage else {})}
