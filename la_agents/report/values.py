"""Values: what a report holds, as plain values out of `response_metadata`."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict

from la_agents.errors import ConfigurationError

__all__ = ["BranchReport", "CandidateReport", "PrincipleReport", "ReportValues", "TokenReport"]

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

    `contribution` is the mean over tokens of the nats by which the branch raised the token that was chosen.
    """

    principles: list[int]
    weight: float
    contribution: float


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
        contributions: For each branch the nats by which it raised the token.
        candidates: The likeliest tokens of either policy and the chosen one, the likeliest aligned one first.
    """

    id: int
    text: str
    label: str
    reference_id: int
    reference: str
    divergence: float
    scale: float
    contributions: list[float]
    candidates: list[CandidateReport]

    @property
    def chosen(self) -> CandidateReport:
        """The token itself among the candidates."""
        return next(each for each in self.candidates if each.id == self.id)

    @property
    def moved(self) -> float:
        """How far alignment moved this very token: `log(aligned / reference)` of its probabilities, nats.

        The divergence, in contrast, is of the whole policy before the support mask.
        """
        chosen = self.chosen
        return math.log(max(chosen.aligned, _LEAST) / max(chosen.reference, _LEAST))


class ReportValues(_Values):
    """The fields of a report; `AlignmentReport` says what they are."""

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

    def explained_tokens(self) -> list[TokenReport]:
        """The tokens.

        Raises:
            ConfigurationError: the answer was not asked for with `explain=True`.
        """
        if self.tokens is None:
            msg = "Expected a report that lists every token, got one without; ask with explain=True."
            raise ConfigurationError(msg)
        return self.tokens
