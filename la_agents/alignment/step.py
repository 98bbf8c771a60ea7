"""Step: one decoding step of aligned rows as a whole, from logits to the policy that is decoded.

On a CPU that policy is computed for the tokens of the support alone, wherever few hold it, a dozen of 50,000 as a rule:
of the unaligned policy and the prompted one only the sums over the vocabulary remain.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from la_agents.alignment import effect
from la_agents.alignment.budget import affordable, within_budget
from la_agents.alignment.choice import likeliest
from la_agents.alignment.kernel import kernel
from la_agents.alignment.line import (
    NEG_INF,
    all_are,
    distribution,
    holds,
    line,
    may_look,
    per_row,
    relative_entropy,
)
from la_agents.alignment.push import pushed, reach
from la_agents.alignment.support import nucleus, nucleus_head, plausible, plausible_head

__all__ = ["Step", "align"]

_IMPOSSIBLE = -1e9
"""The logit of what a grammar forbids, while policies are compared: finite, and no probability in float32."""


@dataclass(frozen=True)
class Step:
    """What `align` made of its rows, for n tokens each: those of `ids`, or the whole vocabulary where that is None."""

    f_0: Tensor  # [batch, vocab]
    f_1: Tensor  # [batch, vocab]
    branches: Tensor  # [batch, k, vocab]
    ids: Tensor | None  # [batch, n]
    final: Tensor  # [batch, n], what is decoded, -inf outside the support
    fraction: float | Tensor  # the part of the way that the budget allows
    gamma: Tensor  # [batch], of this step
    unaligned: Callable[[], tuple[Tensor, Tensor]]  # log pi_0 [batch, n] and pi_0 [batch, vocab], computed if asked for
    taper: float | Tensor
    temperature: float | Tensor

    def likeliest(self) -> Tensor:
        """The likeliest token of what is decoded, the first of equals; [batch]."""
        if self.ids is None:
            return likeliest(self.final)
        vocab = self.f_0.shape[-1]
        best = torch.where(self.final == self.final.amax(dim=-1, keepdim=True), self.ids, vocab)
        return best.amin(dim=-1).clamp_max(vocab - 1)  # where logits are nan, none is the likeliest

    def whole(self) -> Tensor:
        """What is decoded, [batch, vocab]."""
        if self.ids is None:
            return self.final
        return torch.full_like(self.f_0, NEG_INF).scatter_(-1, self.ids, self.final)

    def cost(self, tokens: Tensor, greedy: Tensor) -> Tensor:
        """`effect.cost` of these tokens, [batch]."""
        return effect.cost(self.f_1, tokens, self.temperature, greedy)

    def facts(self, tokens: Tensor, weights: Tensor, greedy: Tensor | None = None) -> Tensor:
        """What became of these tokens, one a row, [batch, 3 + k].

        `KL(pi || pi_0)` of what is decoded, in nats; the s at which the token stands; its cost, or 0 where `greedy` is
        None; `effect.contributions`.
        """
        policies = (self.final, *self.unaligned(), self.f_0, self.f_1, self.branches)
        return _facts(*policies, weights, tokens, self.fraction, self.gamma, self.taper, self.temperature, greedy)


@kernel
def _facts(
    final: Tensor,
    log_pi_0: Tensor,
    pi_0: Tensor,
    f_0: Tensor,
    f_1: Tensor,
    branches: Tensor,
    weights: Tensor,
    tokens: Tensor,
    fraction: float | Tensor,
    gamma: Tensor,
    taper: float | Tensor,
    temperature: float | Tensor,
    greedy: Tensor | None,
) -> Tensor:
    log_pi, pi = distribution(final, temperature)
    scale = fraction * reach(f_1, tokens, gamma, taper)
    cost = torch.zeros_like(scale) if greedy is None else effect.cost(f_1, tokens, temperature, greedy)
    shares = effect.contributions(f_0, branches, weights, tokens, scale, temperature, pi_0)
    return torch.cat([torch.stack([relative_entropy(log_pi, log_pi_0, pi), scale, cost], dim=1), shares], dim=1)


def align(
    reference: Tensor,
    branches: Tensor,
    weights: Tensor,
    *,
    scale: float | Tensor,
    taper: float | Tensor = 0.0,
    adaptive: bool | Tensor = False,
    log_plausibility: float | Tensor = NEG_INF,
    masked: Tensor | None = None,
    support_p: float | Tensor = 1.0,
    mask_temperature: float | Tensor = 1.0,
    budget: float | Tensor = math.inf,
    temperature: float | Tensor = 1.0,
    single: bool = False,
    grammar: tuple[Tensor, Tensor] | None = None,
) -> Step:
    """Push, support and budget of rows at one step. What is a number holds for all rows.

    Args:
        reference: f_0 [batch, vocab].
        branches: [batch, k, vocab].
        weights: [batch, k].
        scale: And taper, adaptive: see `pushed`.
        log_plausibility: See `plausible`; -inf for none.
        masked: Which of the rows have the nucleus as support, [m]; None for none of them.
        support_p: The nucleus's mass, and `mask_temperature` its T_m: of those rows, [m].
        budget: See `within_budget`.
        temperature: T, at which tokens are chosen.
        single: Whether it is known that each row has one branch of weight 1, which then is f(1).
        grammar: What a grammar forbids, [batch, vocab], bool, and which rows are not aligned now, [batch], bool.
    """
    if grammar is not None:
        # First the grammar: support, push and budget are about the policies of what it allows.
        forbidden, unaligned = grammar
        reference = reference.masked_fill(forbidden, _IMPOSSIBLE)
        branches = branches.masked_fill(forbidden.unsqueeze(1), _IMPOSSIBLE)
        branches = torch.where(unaligned[:, None, None], reference.unsqueeze(1), branches)
        scale = per_row(scale, reference).masked_fill(unaligned, 0.0)
    f_1 = branches[:, 0] if single else line(reference, branches, weights, 1.0)
    if grammar is not None:  # where nothing is aligned, the principles say what the reference says
        f_1 = torch.where(grammar[1].unsqueeze(1), reference, f_1)
    bounds = (f_1, log_plausibility, masked, support_p, mask_temperature)
    head = _head(*bounds) if grammar is None and all_are(adaptive, False) else None
    ids, allowed = head or (None, _support(*bounds))
    if grammar is not None:
        allowed = (allowed | grammar[1].unsqueeze(1)) & ~grammar[0]
    is_bounded = not all_are(budget, math.inf)
    policy_0 = functools.cache(functools.partial(distribution, reference, temperature, ids))
    if ids is not None and is_bounded and not bool(affordable(policy_0()[0], allowed, budget).all()):
        # Where a support costs more than the budget, it is dropped: all tokens are in play.
        ids, allowed = None, _support(*bounds)
        policy_0 = functools.cache(functools.partial(distribution, reference, temperature))
    own, pulled = (reference, branches) if ids is None else (_at(reference, ids), _at(branches, ids.unsqueeze(1)))
    log_p_0 = log_p_1 = None
    if not (all_are(taper, 0.0) and all_are(adaptive, False)):
        log_p_0 = (policy_0() if all_are(temperature, 1.0) else distribution(reference, 1.0, ids))[0]
        log_p_1 = distribution(f_1, 1.0, ids)[0]
    z, gamma = pushed(own, pulled, weights, scale, taper, adaptive=adaptive, log_p_0=log_p_0, log_p_1=log_p_1)
    fraction: float | Tensor = 1.0
    if is_bounded:
        fraction, final = within_budget(own, z, allowed, budget, temperature, log_pi_0=policy_0()[0])
        final = final if grammar is None else final.masked_fill(grammar[0], NEG_INF)
    else:
        final = torch.where(allowed, z, NEG_INF)
    return Step(reference, f_1, branches, ids, final, fraction, gamma, policy_0, taper, temperature)


def _head(
    f_1: Tensor,
    log_plausibility: float | Tensor,
    masked: Tensor | None,
    support_p: float | Tensor,
    mask_temperature: float | Tensor,
) -> tuple[Tensor, Tensor] | None:
    """A few tokens that hold each support and which of them are in it, [batch, n] each.

    None where all tokens have to be looked at: where a support has no bound, and on a GPU, which would have to wait to
    be told how many there are.
    """
    if not may_look(f_1):
        return None
    if masked is not None and len(masked) == len(f_1):
        tokens, kept = nucleus_head(f_1, support_p, mask_temperature)
        return tokens, kept & plausible(_at(f_1, tokens), log_plausibility)
    is_plausible = holds(lambda log_alpha: log_alpha > NEG_INF, log_plausibility)
    return plausible_head(f_1, log_plausibility) if is_plausible and (masked is None or not len(masked)) else None


def _support(
    f_1: Tensor,
    log_plausibility: float | Tensor,
    masked: Tensor | None,
    support_p: float | Tensor,
    mask_temperature: float | Tensor,
) -> Tensor:
    """Which tokens may be chosen, [batch, vocab], bool, never none."""
    if all_are(log_plausibility, NEG_INF):
        allowed = torch.ones_like(f_1, dtype=torch.bool)
    else:
        allowed = plausible(f_1, log_plausibility)
    if masked is None or not len(masked):
        return allowed
    inside = nucleus(f_1.index_select(0, masked), support_p, mask_temperature)
    return allowed.index_copy(0, masked, allowed.index_select(0, masked) & inside)


def _at(logits: Tensor, tokens: Tensor) -> Tensor:
    """The logits of these tokens, one list a row."""
    return logits.gather(-1, tokens.expand(*logits.shape[:-1], -1))
