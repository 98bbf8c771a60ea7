"""Text completions: the request, and the answer whole and in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from langchain_core.outputs import Generation
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from la_agents_server.wire.chat import Usage
from la_agents_server.wire.endings import FinishReason, OwnFields, own_fields, wire_reason
from la_agents_server.wire.logprobs import completion_logprobs, reported
from la_agents_server.wire.numbers import WHOLE
from la_agents_server.wire.options import Sampled

__all__ = ["NEUTRAL", "CompletionAnswer", "CompletionChunks", "CompletionRequest", "completion_answer"]

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "echo": (False,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "suffix": ("",),
}
"""Fields that are taken only where they ask for nothing."""


class CompletionRequest(Sampled):
    """The body of `POST /v1/completions`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "smollm2-135m-instruct", "prompt": "Good morning!"}]}
    )

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=64)]
    best_of: Annotated[int, Field(ge=1), WHOLE] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5), WHOLE] | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Choice(_Answer):
    index: int
    text: str
    logprobs: dict[str, JsonValue] | None
    finish_reason: FinishReason


class CompletionAnswer(_Answer):
    """A whole answer, as `completion_answer` writes it."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[_Choice]
    usage: Usage
    la_agents: OwnFields


def _usage(generations: Sequence[Generation], num_choices: int) -> dict[str, int]:
    """Of all answers; those to one prompt share it."""
    usages = [(generation.generation_info or {}).get("usage") or {} for generation in generations]
    prompt = sum(usage.get("input_tokens", 0) for usage in usages[::num_choices])
    answers = sum(usage.get("output_tokens", 0) for usage in usages)
    return {"prompt_tokens": prompt, "completion_tokens": answers, "total_tokens": prompt + answers}


def completion_answer(
    head: Mapping[str, Any],
    generations: Sequence[Generation],
    num_top: int | None,
    *,
    num_choices: int,
    explain: bool,
) -> dict[str, Any]:
    """A whole answer; `num_choices` is how many each prompt has, the other arguments are as in `chat_answer`."""
    infos = [generation.generation_info or {} for generation in generations]
    return {
        **head,
        "object": "text_completion",
        "choices": [
            {
                "index": index,
                "text": generation.text,
                "logprobs": completion_logprobs(info, num_top),
                "finish_reason": wire_reason(info),
            }
            for index, (generation, info) in enumerate(zip(generations, infos, strict=True))
        ],
        "usage": _usage(generations, num_choices),
        "la_agents": own_fields(infos, [reported(info, explain=explain) for info in infos]),
    }


class CompletionChunks:
    """The chunks of a streamed answer; the arguments are as in `Chunks` and `completion_answer`."""

    def __init__(
        self, head: Mapping[str, Any], num_top: int | None, *, with_usage: bool, num_choices: int, explain: bool
    ) -> None:
        self._head = {**head, "object": "text_completion"}
        self._num_top = num_top
        self._with_usage = with_usage
        self._explain = explain
        self._num_choices = num_choices
        self._ended: dict[int, Generation] = {}

    def of(self, index: int, piece: str | Generation) -> dict[str, Any]:
        """What a piece of a choice adds: text, or its end."""
        if isinstance(piece, str):
            return self._chunk(index, piece, None, None)
        self._ended[index] = piece
        info = piece.generation_info or {}
        last = self._chunk(index, "", completion_logprobs(info, self._num_top), wire_reason(info))
        return last | {"la_agents": own_fields([info], [reported(info, explain=self._explain)])}

    def end(self) -> Iterator[dict[str, Any]]:
        """What follows the last piece."""
        if self._with_usage:
            yield {
                **self._head,
                "choices": [],
                "usage": _usage([self._ended[index] for index in sorted(self._ended)], self._num_choices),
            }

    def _chunk(self, index: int, text: str, logprobs: Any, reason: str | None) -> dict[str, Any]:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
        return {**self._head, "choices": [choice], **({"usage": None} if self._with_usage else {})}
