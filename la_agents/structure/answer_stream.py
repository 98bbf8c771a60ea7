"""Answer stream: an engine's chunks as LangChain's, text and tool calls told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall, ToolCall, ToolCallChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from la_agents.structure.call_parser import CallDelta, CallParser

if TYPE_CHECKING:
    from la_agents.prompts.call_format import CallFormat
    from la_agents.requests import Chunk, Completion
    from la_agents.structure.structure import Structure

__all__ = ["AnswerStream", "result_of", "usage"]


class AnswerStream:
    """Follows one call's answer; `push` every chunk, then `finish`."""

    def __init__(self, structure: Structure | None = None, call_format: CallFormat | None = None) -> None:
        self._structure = structure
        self._parser = None if call_format is None else CallParser(call_format)
        self._text: list[str] = []  # what is no call

    def push(self, chunk: Chunk) -> Iterator[ChatGenerationChunk]:
        """Text and parts of calls that a token completes."""
        if not chunk.text:
            return
        deltas = [chunk.text] if self._parser is None else self._parser.push(chunk.text)
        for delta in deltas:
            if isinstance(delta, str):
                self._text.append(delta)
                yield ChatGenerationChunk(message=AIMessageChunk(content=delta))
            else:
                yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[_as_chunk(delta)]))

    def finish(self, completion: Completion, metadata: dict[str, Any]) -> ChatGenerationChunk:
        """Text held back to the end, with usage and `metadata`, which is the answer's `response_metadata`."""
        tail, calls = completion.tail, []
        if self._parser is not None:
            deltas = list(self._parser.push(tail))
            calls = [_as_chunk(delta) for delta in deltas if isinstance(delta, CallDelta)]
            tail = "".join(delta for delta in deltas if isinstance(delta, str)) + self._parser.flush()
            if self._parser.num_calls and completion.finish_reason == "stop":
                metadata = {**metadata, "finish_reason": "tool_calls"}
        self._check(tail, completion)
        message = AIMessageChunk(
            content=tail,
            tool_call_chunks=calls,
            response_metadata=metadata,
            usage_metadata=usage(completion),
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)

    def _check(self, tail: str, completion: Completion) -> None:
        """Check the keywords of the schema that decoding did not keep."""
        structure = self._structure
        has_calls = self._parser is not None and self._parser.num_calls
        if structure is not None and structure.format and not has_calls and completion.finish_reason != "cancelled":
            structure.format.check("".join([*self._text, tail]))


def _as_chunk(delta: CallDelta) -> ToolCallChunk:
    return tool_call_chunk(name=delta.name, args=delta.arguments, id=delta.id, index=delta.index)


def usage(completion: Completion) -> UsageMetadata:
    """Tokens of the reference prompt and of the answer; rows computed are in the alignment report."""
    num_in, num_out = completion.num_prompt_tokens, len(completion.records)
    return UsageMetadata(input_tokens=num_in, output_tokens=num_out, total_tokens=num_in + num_out)


def result_of(chunks: Sequence[ChatGenerationChunk]) -> ChatResult:
    """A whole answer from its chunks, the last one included."""
    messages = [chunk.message for chunk in chunks if isinstance(chunk.message, AIMessageChunk)]
    calls, invalid = _calls(messages)
    message = AIMessage(
        content="".join(chunk.text for chunk in chunks),
        tool_calls=calls,
        invalid_tool_calls=invalid,
        response_metadata=messages[-1].response_metadata,
        usage_metadata=messages[-1].usage_metadata,
    )
    return ChatResult(generations=[ChatGeneration(message=message)])


def _calls(messages: Sequence[AIMessageChunk]) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """The calls, and those that an answer holds only a part of."""
    deltas: dict[int, list[ToolCallChunk]] = {}
    for message in messages:
        for delta in message.tool_call_chunks:
            deltas.setdefault(delta["index"] or 0, []).append(delta)
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for parts in deltas.values():
        name, id_, text = parts[0]["name"] or "", parts[0]["id"], "".join(part["args"] or "" for part in parts)
        try:
            calls.append(tool_call(name=name, args=json.loads(text), id=id_))
        except ValueError:
            invalid.append(invalid_tool_call(name=name, args=text, id=id_, error="The arguments are not complete."))
    return calls, invalid
