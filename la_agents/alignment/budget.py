"""Budget: how far a policy may go so that it stays within delta nats of the unaligned one, support and push included.

What is decoded is the unaligned policy pi_0, moved towards the pushed logits z inside the support V:

    pi_t = softmax((f_0 + t (z - f_0)) / T) on V,    0 <= t <= 1

On the line of policies z = f(s), so this is the line up to s, and t s is the scale that was reached. For any push,
pi_t is an exponential family in t, so KL(pi_t || pi_0) grows with t and the largest admissible t is one root. At t = 0
it is not 0 but -log pi_0(V), what the support alone costs. Where even that is over the budget, the support is dropped,
and t is sought without it: so every budget can be met, and delta = 0 leaves the unaligned policy.

Choosing the support at the scale that the budget allows would do so too, but a nucleus changes by jumps, and the
divergence with it: there would be no largest scale to find.
"""

from __future__ import annotations

import torch
from torch import Tensor

from la_agents.alignment.line import (
    NEG_INF,
    all_finite,
    certainly,
    dot,
    may_look,
    per_row,
    policy,
    probabilities,
    relative_entropy,
)

__all__ = ["affordable", "within_budget"]

_MAX_ITERATIONS = 60
_ITERATIONS_UNSEEN = 12
"""On a GPU, where nobody looks whether all rows have ended. Where that takes more, which is rare, t is too small."""
_ROUNDING = 1e-6  # nats; of float32, so that branches that say the same are not taken to diverge
_UNSEEN = 1e-5
"""Nats below which a divergence in float32 is mostly rounding."""
_COLD = 1e-2
"""Temperature below which float32's rounding of a logit, divided by it, is seen in the divergence."""


def within_budget(
    reference: Tensor,
    pushed: Tensor,
    allowed: Tensor,
    budget: float | Tensor,
    temperature: float | Tensor = 1.0,
    *,
    log_pi_0: Tensor | None = None,
    tolerance: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """t [batch] and the logits that are decoded [batch, vocab], -inf outside the support, both float32.

    Args:
        reference: f_0 [batch, vocab].
        pushed: z [batch, vocab].
        allowed: V [batch, vocab], bool, never empty.
        budget: delta in nats per token, >= 0, a number or [batch]; inf switches the constraint off.
        temperature: T, at which the divergence is taken.
        log_pi_0: `policy(reference, temperature)`, where it is known already. Where every support is affordable, all
            may be for a part of the vocabulary that holds it.
        tolerance: How far below the budget the divergence may end, in nats.
    """
    f_0, delta = reference.float(), per_row(budget, reference).double()
    log_pi_0 = policy(f_0, temperature) if log_pi_0 is None else log_pi_0
    cost = _cost(log_pi_0, allowed)
    stays = affordable(log_pi_0, allowed, delta)
    inside = allowed | ~stays.unsqueeze(-1)
    h = pushed - f_0
    possible = torch.isfinite(h)
    if not certainly(lambda: possible.all(), h):
        h = torch.where(possible, h, torch.where(torch.isneginf(f_0), 0.0, NEG_INF))
    base = torch.log_softmax(log_pi_0.masked_fill(~inside, NEG_INF), dim=-1)
    t = _largest_fraction(base, h, delta - torch.where(stays, cost, 0.0), temperature, tolerance).float()
    t = torch.where(delta > 0, t, 0.0)  # exactly, though float32 may not see a small divergence
    moved = torch.where((t == 1).unsqueeze(-1), pushed, f_0 + t.unsqueeze(-1) * h)
    moved = torch.where((t == 0).unsqueeze(-1), f_0, moved)
    moved = moved.masked_fill(~inside, NEG_INF)
    if _may_be_cold(temperature, reference):
        # There the divergence jumps where the likeliest token changes, and a rounded t may stand beyond the jump.
        beyond = relative_entropy(policy(moved, temperature), log_pi_0) > delta * (1 + 1e-3) + 1e-4
        t = torch.where(beyond, 0.0, t)
        moved = torch.where(beyond.unsqueeze(-1), f_0.masked_fill(~inside, NEG_INF), moved)
    return t, moved


def affordable(log_pi_0: Tensor, allowed: Tensor, budget: float | Tensor) -> Tensor:
    """Whether the support alone is within the budget, [batch], bool; the policy and V may be of a part that holds V."""
    delta = per_row(budget, log_pi_0).double()
    return (_cost(log_pi_0, allowed) <= delta) & (delta > 0)  # a cost that float32 rounds to 0 is one


def _cost(log_pi_0: Tensor, allowed: Tensor) -> Tensor:
    """`-log pi_0(V)` in nats, float64."""
    return -log_pi_0.masked_fill(~allowed, NEG_INF).logsumexp(dim=-1).clamp_max(0.0).double()


def _may_be_cold(temperature: float | Tensor, like: Tensor) -> bool:
    if not isinstance(temperature, Tensor):
        return temperature < _COLD
    return not certainly(lambda: (temperature >= _COLD).all(), like)


def _largest_fraction(
    log_pi_0: Tensor, h: Tensor, budget: Tensor, temperature: float | Tensor, tolerance: float
) -> Tensor:
    """The largest t <= 1 with `KL(pi_t || pi_0) <= budget`, shape [batch], float64.

    With `d = h / T`, `KL(t) = t E_t[d] - A(t)` for the log-partition `A(t) = log E_0[exp(t d)]`, and
    `dKL/dt = t Var_t[d] >= 0`. Hence one root, found for all rows at once by Newton steps on sqrt(KL), which is almost
    linear in t, that fall back to bisection when they leave the bracket. A row that is within its budget returns 1.
    """
    family = _Family(log_pi_0, h, temperature)
    one = torch.ones_like(budget)
    kl, variance = family.at(one)
    exceeds = kl > budget + _ROUNDING
    low, high = torch.zeros_like(one), one.clone()
    # A budget of 0 has its answer, t = 0, already.
    open_ = exceeds & (budget > 0)
    # Half the tolerance below the budget, so that a good step lands inside and ends the search.
    goal = (budget - 0.5 * budget.clamp_max(tolerance)).clamp_min(0.0).sqrt()
    t, found = one, low
    for _ in range(_MAX_ITERATIONS if may_look(h) else _ITERATIONS_UNSEEN):
        if certainly(lambda: ~open_.any(), h):  # noqa: B023  # called at once
            break
        step = _newton_step(t, kl, variance, goal)
        t = torch.where((step > low) & (step < high), step, 0.5 * (low + high))
        kl, variance = family.at(t)
        fits = kl <= budget
        # Rows that are done stay as they are, so that no row's answer depends on how long its neighbours search.
        low, high = torch.where(open_ & fits, t, low), torch.where(open_ & ~fits, t, high)
        ends = fits & (budget - kl <= tolerance)
        # One more step, unchecked because it is so short, ends at the goal itself wherever the search came from.
        last = _newton_step(t, kl, variance, goal)
        found = torch.where(open_, torch.where(ends & (last > 0) & (last < high), last, low), found)
        open_ = open_ & ~ends & (high - low > 1e-12)
    return torch.where(exceeds, found, one)


def _newton_step(t: Tensor, kl: Tensor, variance: Tensor, goal: Tensor) -> Tensor:
    """Where sqrt(KL) reaches `goal` if it goes on as steeply as at t: its derivative there is t Var / (2 sqrt(KL))."""
    # Near 0 float32 does not see KL, which is t^2 Var / 2 there.
    root = torch.where(kl > _UNSEEN, kl, 0.5 * t.square() * variance).clamp_min(1e-30).sqrt()
    return t + 2 * root * (goal - root) / (t * variance).clamp_min(1e-30)


class _Family:
    """The policies `pi_t`, as the exponential family `pi_0 exp(t d - A(t))`.

    float32 suffices because the numbers that matter are small: log-probabilities, and d centred under pi_0.
    """

    def __init__(self, log_pi_0: Tensor, direction_: Tensor, temperature: float | Tensor) -> None:
        d = direction_ / per_row(temperature, direction_).unsqueeze(-1)
        if not all_finite(d):
            # Tokens that some branch forbids have probability 0 at every t > 0; they must not meet 0 * inf.
            alive = torch.isfinite(d) & torch.isfinite(log_pi_0)
            log_pi_0, d = torch.where(alive, log_pi_0, NEG_INF), torch.where(alive, d, 0.0)
        self._log_pi_0 = log_pi_0
        self._d = d - dot(probabilities(log_pi_0), d).unsqueeze(-1)

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """KL(pi_t || pi_0) and Var_t[d], each [batch], float64."""
        logits = torch.addcmul(self._log_pi_0, t.to(self._d.dtype).unsqueeze(-1), self._d)
        pi = torch.softmax(logits, dim=-1)
        log_z = logits.amax(dim=-1).double() - pi.amax(dim=-1).double().log()
        first = pi.mul_(self._d)
        mean = first.sum(dim=-1)
        variance = dot(first, self._d) - mean.square()
        return (t * mean.double() - log_z).clamp_min(0.0), variance.double()
