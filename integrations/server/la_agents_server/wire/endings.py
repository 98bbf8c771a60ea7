"""Endings: why an answer ended, in OpenAI's words, with ours beside them in the object `la_agents`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from la_agents import AlignmentReport

__all__ = ["FinishReason", "OwnFields", "own_fields", "wire_reason"]

FinishReason = Literal["stop", "length", "tool_calls"]


class OwnFields(BaseModel):
    """What alignment did and why the answer ended, in our words: "repetition" is "stop" in OpenAI's.

    Of several choices, `alignments` and `finish_reasons` have one entry each.
    """

    model_config = ConfigDict(extra="forbid")

    alignment: AlignmentReport | None = None
    finish_reason: str | None = None
    alignments: list[AlignmentReport] | None = None
    finish_reasons: list[str] | None = None


def wire_reason(metadata: Mapping[str, Any]) -> str:
    """`finish_reason` as OpenAI's clients know it; their types refuse any other word, such as "repetition".

    Such an answer is over: "length" would say that a larger `max_tokens` helps.
    """
    reason = str(metadata["finish_reason"])
    return reason if reason in get_args(FinishReason) else "stop"


def own_fields(metadata: Sequence[Mapping[str, Any]], reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The object `la_agents` of an answer: for each choice the alignment report and our own finish reason."""
    reasons = [each["finish_reason"] for each in metadata]
    if len(reports) == 1:
        return {"alignment": reports[0], "finish_reason": reasons[0]}
    return {"alignments": [*reports], "finish_reasons": reasons}
