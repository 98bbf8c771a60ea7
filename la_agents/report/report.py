"""Report: what alignment did to one answer, as plain values in `response_metadata["alignment"]` and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from la_agents.engine.detokenizer import Detokenizer
from la_agents.errors import ConfigurationError
from la_agents.principles import Principle
from la_agents.report.token_text import TokenTexts

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from transformers import PreTrainedTokenizerBase

    from la_agents.requests import Alignment, Completion, TokenRecord

__all__ = [
    "AlignmentReport",
    "BranchReport",
    "CandidateReport",
    "PrincipleReport",
    "TokenReport",
    "alignment_report",
    "principle_values",
]


_LEAST = 1e-12
"""Probability below which float32 says nothing any more."""


class _Values(BaseModel):
    """Values out of metadata; what a newer version may add is kept."""

    model_config = ConfigDict(extra="allow", frozen=True)


class PrincipleReport(_Values):
    """A principle that was used; see `Principle`. Its text is there if the answer was asked for with `explain=True`."""

    text: str | None = None
    weight: float
    id: str | None = None
    relevance: float | None = None
    layer: str = "call"


class BranchReport(_Values):
    """One branch of the contrast: its principles (places in the list of principles) and what it did.

    `share` is the mean over tokens of the nats by which the branch raised the token that was chosen.
    """

    principles: list[int]
    weight: float
    share: float


class CandidateReport(_Values):
    """A token that could have been chosen, with its probability under the reference and under the aligned policy."""

    id: int
    text: str
    reference: float
    aligned: float


class TokenReport(_Values):
    """One token of the answer.

    Attributes:
        id: The token chosen.
        text: What it added to the answer: "" for all but the last token of a character that takes several.
        label: What it looks like by itself; bytes that are no character as "⟨F0 9F⟩".
        reference_id: What the unaligned model would have chosen here, with the same randomness.
        reference: What that looks like.
        divergence: KL of the aligned policy to the reference at this step, nats.
        scale: The s that was used.
        shares: For each branch the nats by which it raised the token.
        candidates: The likeliest tokens of either policy and the chosen one, the likeliest aligned one first.
    """

    id: int
    text: str
    label: str
    reference_id: int
    reference: str
    divergence: float
    scale: float
    shares: list[float]
    candidates: list[CandidateReport]

    @property
    def chosen(self) -> CandidateReport:
        """The token itself among the candidates."""
        return next(each for each in self.candidates if each.id == self.id)

    @property
    def moved(self) -> float:
        """How far alignment moved this very token: `log(aligned / reference)` of its probabilities, nats.

        Other than the divergence, which is the whole policy's before the support mask, it says nothing of the others.
        """
        chosen = self.chosen
        return math.log(max(chosen.aligned, _LEAST) / max(chosen.reference, _LEAST))


class AlignmentReport(_Values):
    """What alignment did to one answer, out of its `response_metadata`; divergences in nats per token.

    Attributes:
        principles: Those that were used.
        branches: What each branch did; "joint" composition has one for all principles.
        method: The rule that made the aligned logits.
        strength: gamma.
        support: Which tokens could be chosen.
        push: How each token was moved beyond prompting.
        divergence_budget: Nats per token that were allowed, or None.
        mean_divergence: Over the answer's tokens.
        max_divergence: Over the answer's tokens.
        changed_tokens: How many differ from what the unaligned model would have chosen in their place.
        num_tokens: Tokens generated.
        rows: Branches decoded side by side, the reference included.
        rows_computed: Forwards of one row by one token.
        cached_prompt_tokens: Prompt tokens that were found in the prefix cache, over all rows.
        tokens: Every token, for an answer that was asked for with `explain=True`; else None.
        scope: What alignment shaped: the "answer", its "text" (all but tool calls), or "nothing" (structured output).

    Example:
        >>> message = llm.invoke("Tell me about the sea.", explain=True)  # doctest: +SKIP
        >>> Path("page.html").write_text(AlignmentReport.from_message(message).to_html())  # doctest: +SKIP
    """

    principles: list[PrincipleReport]
    branches: list[BranchReport]
    method: str = "linear"
    strength: float
    support: str = "nucleus"
    push: str = "uniform"
    divergence_budget: float | None
    mean_divergence: float
    max_divergence: float
    changed_tokens: int
    num_tokens: int
    rows: int
    rows_computed: int
    cached_prompt_tokens: int
    tokens: list[TokenReport] | None = None
    scope: str = "answer"

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> AlignmentReport:
        """Read the report of an answer from its `response_metadata`, or from the `alignment` in it.

        Raises:
            ConfigurationError: there is none, or it is not one of this library's.
        """
        values = metadata.get("alignment", metadata) if isinstance(metadata, Mapping) else None
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            places = {".".join(map(str, each["loc"])) or type(values).__name__ for each in error.errors()}
            msg = (
                "Expected the response_metadata of an answer by ChatLinearAlignment or LinearAlignmentLLM, got "
                f"one with nothing readable at {', '.join(sorted(places)[:5])}."
            )
        raise ConfigurationError(msg)  # out here, because pydantic's error repeats what it was given

    @classmethod
    def from_message(cls, message: BaseMessage) -> AlignmentReport:
        """Read the report of a message.

        Raises:
            ConfigurationError: it has none.
        """
        return cls.from_metadata(message.response_metadata)

    def to_dict(self) -> dict[str, Any]:
        """The JSON-able values it was read from."""
        return self.model_dump(exclude_unset=True)

    def to_html(self, *, question: str | None = None, title: str = "Alignment, token by token") -> str:
        """A page that shows what moved each token: one file that loads nothing, for any browser.

        Args:
            question: What was asked, to show above the answer.
            title: Of the page.

        Raises:
            ConfigurationError: the answer was not asked for with `explain=True`.
        """
        from la_agents.report.page import page

        return page(self, question, title)

    def explained_tokens(self) -> list[TokenReport]:
        """The tokens.

        Raises:
            ConfigurationError: the answer was not asked for with `explain=True`.
        """
        if self.tokens is None:
            msg = "Expected a report that lists every token, got one without; ask with explain=True."
            raise ConfigurationError(msg)
        return self.tokens


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
            {"principles": list(members), "weight": weight, "share": _mean_share(records, i)}
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


def _mean_share(records: Sequence[TokenRecord], branch: int) -> float:
    return fmean(record.shares[branch] for record in records) if records else 0.0


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
        "shares": list(record.shares),
        "candidates": [
            {"id": each.token_id, "text": shown, "reference": each.reference, "aligned": each.aligned}
            for each, shown in zip(candidates, labels, strict=True)
        ],
    }
