"""Candidates: the tokens that are likeliest under either policy at one step, for the report."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf

import torch
from torch import Tensor

from la_agents import alignment
from la_agents.requests import Candidate

__all__ = ["NUM_CANDIDATES", "candidates"]

NUM_CANDIDATES = 5
"""How many of each policy's likeliest tokens are listed."""


def candidates(
    final: Tensor, reference: Tensor, temperature: float | Tensor, tokens: Tensor, rows: SequenceOf[int]
) -> dict[int, tuple[Candidate, ...]]:
    """The likeliest tokens of softmax(f / T) under both, and the chosen one, by row; likeliest aligned ones first.

    Args:
        final: [S, vocab], the aligned logits inside their support, -inf outside.
        reference: [S, vocab], those of the reference.
        temperature: [S], or one for all.
        tokens: [S], the chosen ones.
        rows: Which of the S are asked about.
    """
    if not rows:
        return {}
    wanted = torch.tensor(rows, device=final.device)
    if isinstance(temperature, Tensor):
        temperature = temperature.index_select(0, wanted)
    policies = torch.stack(
        [alignment.policy(logits.index_select(0, wanted), temperature).exp_() for logits in (reference, final)]
    )  # [2, rows, vocab]
    likeliest = policies.topk(min(NUM_CANDIDATES, policies.shape[-1])).indices
    ids = torch.cat([tokens.index_select(0, wanted).unsqueeze(-1), *likeliest], dim=-1)
    probabilities = policies.gather(-1, ids.expand(2, -1, -1))
    listed = zip(rows, ids.tolist(), *probabilities.tolist(), strict=True)
    return {row: _in_order(*columns) for row, *columns in listed}


def _in_order(ids: list[int], reference: list[float], aligned: list[float]) -> tuple[Candidate, ...]:
    """Each token once; the chosen one and the reference's come first in `ids`, then the aligned policy's."""
    num_others = (len(ids) + 1) // 2
    listed = {
        id: Candidate(id, before, after)
        for place, (id, before, after) in enumerate(zip(ids, reference, aligned, strict=True))
        if place < num_others or after > 0  # a support of fewer tokens than are listed fills up with impossible ones
    }
    return tuple(sorted(listed.values(), key=lambda c: (-c.aligned, -c.reference)))
