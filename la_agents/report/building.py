"""Building a report: an engine's records of an answer as JSON-able values for `response_metadata["alignment"]`."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from la_agents.engine.detokenizer import Detokenizer
from la_agents.principles import Principle
from la_agents.report.token_text import TokenTexts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from la_agents.requests import Alignment, Completion, TokenRecord

__all__ = ["alignment_report", "principle_values"]


def alignment_report(
    completion: Completion,
    settings: Alignment,
    principles: Sequence[Principle],
    branch_principles: Sequence[Sequence[int]],
    weights: Sequence[float],
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> dict[str, Any]:
    """The report as JSON-able values, as `AlignmentReport` describes them.

    With a tokenizer, every token is listed and principles come with their texts. Without, a report holds nothing of
    what the user said: it stays in checkpoints and caches after the user was erased.
    """
    records = completion.records
    divergences = [record.divergence for record in records] or [0.0]
    report: dict[str, Any] = {
        "principles": [principle_values(p, with_text=tokenizer is not None) for p in principles],
        "branches": [
            {
                "principles": list(members),
                "weight": weight,
                "contribution": fmean([record.contributions[i] for record in records] or [0.0]),
            }
            for i, (members, weight) in enumerate(zip(branch_principles, weights, strict=True))
        ],
        "method": settings.method,
        "strength": settings.chosen_strength,
        "support": settings.chosen_support,
        "push": settings.chosen_push,
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
        report["tokens"] = _tokens(records, tokenizer)
    return report


def principle_values(principle: Principle, *, with_text: bool) -> dict[str, Any]:
    """A principle as the report lists it: by its id, and by its text if that is wanted."""
    return {
        "id": principle.id,
        **({"text": principle.text} if with_text else {}),
        "weight": principle.weight,
        "relevance": principle.relevance,
        "layer": principle.layer,
    }


def _tokens(records: Sequence[TokenRecord], tokenizer: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    detokenizer, texts = Detokenizer(tokenizer), TokenTexts(tokenizer)
    ids = [record.token_id for record in records]
    tokens = [
        _token_values(record, detokenizer.push(record.token_id), ids[:place], texts)
        for place, record in enumerate(records)
    ]
    if tokens:
        tokens[-1]["text"] += detokenizer.flush()
    return tokens


def _token_values(record: TokenRecord, text: str, before: Sequence[int], texts: TokenTexts) -> dict[str, Any]:
    candidates = record.candidates
    label, reference, *labels = texts.of(
        [record.token_id, record.reference_id, *(candidate.token_id for candidate in candidates)], before
    )
    return {
        "id": record.token_id,
        "text": text,
        "label": label,
        "reference_id": record.reference_id,
        "reference": reference,
        "divergence": record.divergence,
        "scale": record.scale,
        "contributions": list(record.contributions),
        "candidates": [
            {"id": each.token_id, "text": shown, "reference": each.reference, "aligned": each.aligned}
            for each, shown in zip(candidates, labels, strict=True)
        ],
    }
