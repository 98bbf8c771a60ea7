"""Aligned step: the policies from which aligned sequences take their next token, and what became of them.

On a CPU they are computed for the tokens of the support alone, wherever few hold it: of the unaligned policy and the
prompted one only the sums over the vocabulary remain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from la_agents import alignment
from la_agents.engine.batch import Batch, all_are
from la_agents.engine.masks import Masks

__all__ = ["AlignedStep", "align"]

_IMPOSSIBLE = -1e9
"""The logit of what a grammar forbids, while policies are compared: finite, and no probability in float32."""


@dataclass(frozen=True)
class AlignedStep:
    """One step of A aligned sequences, for n tokens each: those of `ids`, or the whole vocabulary."""

    f_0: Tensor  # [A, vocab]
    pi_0: Tensor  # [A, vocab], its policy
    f_1: Tensor  # [A, vocab]
    branches: Tensor  # [A, K, vocab]
    ids: Tensor | None  # [A, n]
    log_pi_0: Tensor  # [A, n]
    final: Tensor  # [A, n], what is decoded, -inf outside the support
    fraction: Tensor  # [A], the part of the way that the budget allows
    gamma: Tensor  # [A], of this step

    def likeliest(self) -> Tensor:
        """The likeliest token of what is decoded, the first of equals; [A]."""
        if self.ids is None:
            return alignment.likeliest(self.final)
        vocab = self.f_0.shape[-1]
        best = torch.where(self.final == self.final.amax(dim=-1, keepdim=True), self.ids, vocab)
        return best.amin(dim=-1).clamp_max(vocab - 1)  # where logits are nan, none is the likeliest

    def whole(self) -> Tensor:
        """What is decoded, [A, vocab]."""
        if self.ids is None:
            return self.final
        return torch.full_like(self.f_0, -math.inf).scatter_(-1, self.ids, self.final)

    def facts(self, tokens: Tensor, batch: Batch) -> Tensor:
        """For each sequence the divergence of what was decoded, the token's scale, cost and contributions: [A, 3 + K].

        Args:
            tokens: The chosen ones, [A].
        """
        temperature = batch.aligned_temperature
        log_pi, pi = alignment.distribution(self.final, temperature)
        divergence = alignment.relative_entropy(log_pi, self.log_pi_0, pi)
        scale = self.fraction * alignment.reach(self.f_1, tokens, self.gamma, batch.taper)
        cost = torch.zeros_like(scale)
        if batch.any_fluency:
            cost = alignment.cost(self.f_1, tokens, temperature, batch.greedy[batch.aligned])
        columns = torch.stack([divergence, scale, cost], dim=1)
        shares = alignment.contributions(self.f_0, self.branches, batch.weights, tokens, scale, temperature, self.pi_0)
        return torch.cat([columns, shares], dim=1)


def align(f_0: Tensor, branches: Tensor, batch: Batch, masks: Masks | None, inputs: Tensor | None) -> AlignedStep:
    """One step of the batch's aligned sequences.

    Args:
        f_0: The logits of their references, [A, vocab].
        branches: Those with their principles, [A, K, vocab].
        inputs: See `Batch.inputs`.
    """
    cap, forbidden, temperature = batch.cap, None, batch.aligned_temperature
    if masks is not None:
        # First the grammar: support, push and budget are about the policies of what it allows.
        forbidden = masks.forbidden.index_select(0, batch.aligned)
        f_0 = f_0.masked_fill(forbidden, _IMPOSSIBLE)
        branches = branches.masked_fill(forbidden.unsqueeze(1), _IMPOSSIBLE)
        cap = torch.where(masks.unaligned, 0.0, cap)
    f_1 = branches[:, 0] if batch.single else alignment.line(f_0, branches, batch.weights, 1.0)
    if masks is not None:  # where nothing is aligned, the principles say what the reference says
        f_1 = torch.where(masks.unaligned.unsqueeze(1), f_0, f_1)
    log_plausibility = _log_plausibility(batch, inputs)
    head = _head(f_1, log_plausibility, batch) if masks is None else None
    ids, allowed = head or (None, _support(f_1, log_plausibility, batch))
    if masks is not None and forbidden is not None:
        allowed = (allowed | masks.unaligned.unsqueeze(1)) & ~forbidden
    log_pi_0, pi_0 = alignment.distribution(f_0, temperature, ids)
    has_budget = not all_are(batch.budget, math.inf)
    if ids is not None and has_budget and not bool(alignment.affordable(log_pi_0, allowed, batch.budget).all()):
        # Where a support costs more than the budget, it is dropped: all tokens are in play.
        ids, allowed = None, _support(f_1, log_plausibility, batch)
        log_pi_0, pi_0 = alignment.distribution(f_0, temperature)
    own, pulled = (f_0, branches) if ids is None else (_at(f_0, ids), _at(branches, ids.unsqueeze(1)))
    log_p_0 = log_pi_0 if all_are(temperature, 1.0) else None
    log_p_1 = None
    if ids is not None and not all_are(batch.taper, 0.0):
        log_p_0 = alignment.distribution(f_0, 1.0, ids)[0] if log_p_0 is None else log_p_0
        log_p_1 = alignment.distribution(f_1, 1.0, ids)[0]
    z, gamma = alignment.pushed(
        own, pulled, batch.weights, cap, batch.taper, adaptive=batch.adaptive, log_p_0=log_p_0, log_p_1=log_p_1
    )
    if has_budget:
        fraction, final = alignment.within_budget(own, z, allowed, batch.budget, temperature, log_pi_0=log_pi_0)
        final = final if forbidden is None else final.masked_fill(forbidden, -math.inf)
    else:
        fraction, final = torch.ones_like(gamma), torch.where(allowed, z, -math.inf)
    return AlignedStep(f_0, pi_0, f_1, branches, ids, log_pi_0, final, fraction, gamma)


def _log_plausibility(batch: Batch, inputs: Tensor | None) -> float | Tensor:
    """log alpha of this step, a number or [A]: nobody's bound on fluency lets a token cost more than is left."""
    if not batch.any_fluency or inputs is None:
        return batch.log_plausibility
    left = inputs[:, 2].index_select(0, batch.aligned).float()
    return (-left).clamp_min(batch.log_plausibility)


def _head(f_1: Tensor, log_plausibility: float | Tensor, batch: Batch) -> tuple[Tensor, Tensor] | None:
    """A few tokens that hold each support and which of them are in it, [A, n] each.

    None where all tokens have to be looked at: where a support has no bound, where the push depends on all of them,
    and on a GPU, which would have to wait to be told how many they are.
    """
    if not alignment.may_look(f_1) or not all_are(batch.adaptive, False):
        return None
    if batch.masked.numel() == len(f_1):
        tokens, kept = alignment.nucleus_head(f_1, batch.support_p, batch.mask_temperature)
        return tokens, kept & alignment.plausible(_at(f_1, tokens), log_plausibility)
    is_bounded = bool((torch.as_tensor(log_plausibility) > -math.inf).all())
    return alignment.plausible_head(f_1, log_plausibility) if is_bounded and not batch.masked.numel() else None


def _support(f_1: Tensor, log_plausibility: float | Tensor, batch: Batch) -> Tensor:
    """Which tokens may be chosen, [A, vocab], bool, never none."""
    if not all_are(log_plausibility, -math.inf):
        allowed = alignment.plausible(f_1, log_plausibility)
    else:
        allowed = torch.ones_like(f_1, dtype=torch.bool)
    if not batch.masked.numel():
        return allowed
    nucleus = alignment.nucleus(f_1.index_select(0, batch.masked), batch.support_p, batch.mask_temperature)
    return allowed.index_copy(0, batch.masked, allowed.index_select(0, batch.masked) & nucleus)


def _at(logits: Tensor, tokens: Tensor) -> Tensor:
    """The logits of these tokens, one list a row."""
    return logits.gather(-1, tokens.expand(*logits.shape[:-1], -1))
