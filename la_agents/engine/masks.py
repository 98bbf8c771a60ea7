"""Masks: what the grammars of a batch forbid at one step, as tensors for the sampler."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import torch
from torch import Tensor

from la_agents.engine.constraint import allowed_tokens
from la_agents.engine.sequence import Sequence

__all__ = ["Masks", "grammar_masks"]

_Member = tuple[Sequence, tuple[int, ...]]


@dataclass(frozen=True)
class Masks:
    """For S sequences, of which A are aligned.

    Attributes:
        forbidden: [S, vocab], tokens that a sequence's grammar does not allow.
        unaligned: [A], whether alignment is off in this part of the answer.
    """

    forbidden: Tensor
    unaligned: Tensor


def grammar_masks(groups: SequenceOf[SequenceOf[_Member]], logits: Tensor) -> list[Masks | None]:
    """The masks of all grammars, computed together; None for a group of sequences without any, at no cost to it."""
    constraints = [s.constraint for group in groups for s, _ in group if s.constraint is not None]
    if not constraints:
        return [None] * len(groups)
    forbidden = iter(~torch.from_numpy(allowed_tokens(constraints, logits.shape[-1])))
    free = torch.zeros(logits.shape[-1], dtype=torch.bool)
    out: list[Masks | None] = []
    for group in groups:
        if all(s.constraint is None for s, _ in group):
            out.append(None)
            continue
        rows = torch.stack([free if s.constraint is None else next(forbidden) for s, _ in group])
        off = [s.constraint is not None and not s.constraint.aligned for s, numbers in group if len(numbers) > 1]
        out.append(Masks(rows.to(logits.device), torch.tensor(off, dtype=torch.bool, device=logits.device)))
    return out
