"""Report: what alignment did to one answer, as plain values for `response_metadata["alignment"]`."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol

from la_agents.principles import Principle

if TYPE_CHECKING:
    from la_agents.engine.generation import Completion
    from la_agents.engine.sequence import Alignment, TokenRecord

__all__ = ["alignment_report"]


class _Tokenizer(Protocol):
    def decode(self, token_ids: list[int], skip_special_tokens: bool = ..., **kwargs: Any) -> str | list[str]: ...


def alignment_report(
    completion: Completion,
    settings: Alignment,
    principles: Sequence[Principle],
    branch_principles: Sequence[Sequence[int]],
    weights: Sequence[float],
    *,
    tokenizer: _Tokenizer | None = None,
) -> dict[str, Any]:
    """The report as JSON-able values; divergences in nats per token.

    `share` of a branch is the mean over tokens of the nats by which it raised the chosen token (`TokenRecord.shares`).
    `rows` branches were decoded side by side, so `rows_computed` counts every forward of one row by one token. With a
    tokenizer, `tokens` lists every token: its text, what the reference would have chosen, divergence, scale and shares.
    """
    records = completion.records
    divergences = [record.divergence for record in records] or [0.0]
    report: dict[str, Any] = {
        "principles": [principle_values(p) for p in principles],
        "branches": [
            {"principles": list(members), "weight": weight, "share": _mean_share(records, i)}
            for i, (members, weight) in enumerate(zip(branch_principles, weights, strict=True))
        ],
        "method": settings.method,
        "strength": settings.strength,
        "divergence_budget": settings.max_divergence,
        "mean_divergence": fmean(divergences),
        "max_divergence": max(divergences),
        "changed_tokens": sum(record.token_id != record.reference_id for record in records),
        "num_tokens": len(records),
        "rows": completion.num_rows,
        "rows_computed": completion.num_computed_tokens + completion.num_rows * len(records),
        "cached_prompt_tokens": completion.num_cached_tokens,
    }
    if tokenizer is not None:
        report["tokens"] = [_token_values(record, tokenizer) for record in records]
    return report


def principle_values(principle: Principle) -> dict[str, Any]:
    """A principle as the report lists it."""
    return {
        "id": principle.id,
        "text": principle.text,
        "weight": principle.weight,
        "relevance": principle.relevance,
        "layer": principle.layer,
    }


def _mean_share(records: Sequence[TokenRecord], branch: int) -> float:
    return fmean(record.shares[branch] for record in records) if records else 0.0


def _token_values(record: TokenRecord, tokenizer: _Tokenizer) -> dict[str, Any]:
    return {
        "id": record.token_id,
        "reference_id": record.reference_id,
        "text": str(tokenizer.decode([record.token_id])),
        "reference": str(tokenizer.decode([record.reference_id])),
        "divergence": record.divergence,
        "scale": record.scale,
        "shares": list(record.shares),
    }
