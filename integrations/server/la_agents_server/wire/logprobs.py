"""Logprobs: out of an answer's report, the aligned policy's; the reference's stand beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from la_agents import AlignmentReport

__all__ = ["chat_logprobs", "completion_logprobs", "reported"]

_NEVER = -9999.0
"""What OpenAI writes for a token that could not be chosen."""


def reported(metadata: Mapping[str, Any], *, explain: bool) -> dict[str, Any]:
    """The report for the answer: with its tokens and the texts of principles only if they were asked for."""
    report = dict(metadata.get("alignment") or {})
    if not explain:
        report.pop("tokens", None)
        report["principles"] = [{k: v for k, v in p.items() if k != "text"} for p in report.get("principles") or []]
    return report


def chat_logprobs(metadata: Mapping[str, Any], num_top: int | None) -> dict[str, Any] | None:
    """`choices[].logprobs`; None if they were not asked for."""
    if num_top is None:
        return None
    content = []
    for token in AlignmentReport.from_metadata(metadata).explained_tokens():
        likeliest = [each for each in token.candidates if each.aligned > 0][:num_top]
        entry = _entry(token.text, token.chosen.aligned, token.chosen.reference)
        entry["top_logprobs"] = [_entry(each.text, each.aligned, each.reference) for each in likeliest]
        content.append(entry)
    return {"content": content, "refusal": None}


def completion_logprobs(metadata: Mapping[str, Any], num_top: int | None) -> dict[str, Any] | None:
    """`choices[].logprobs` of a text completion, in the older form."""
    if num_top is None:
        return None
    tokens = AlignmentReport.from_metadata(metadata).explained_tokens()
    offsets, at = [], 0
    for token in tokens:
        offsets.append(at)
        at += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [_log(token.chosen.aligned) for token in tokens],
        "top_logprobs": [{c.text: _log(c.aligned) for c in t.candidates[:num_top] if c.aligned > 0} for t in tokens],
        "text_offset": offsets,
        "la_agents": {"reference_logprobs": [_log(token.chosen.reference) for token in tokens]},
    }


def _entry(text: str, aligned: float, reference: float) -> dict[str, Any]:
    return {
        "token": text,
        "logprob": _log(aligned),
        "bytes": list(text.encode()),
        "la_agents": {"reference_logprob": _log(reference)},
    }


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0 else _NEVER
