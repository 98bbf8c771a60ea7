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

from la_agents_vllm.alignment.kernel import kernel
from la_agents_vllm.alignment.line import (
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
    inside, room, base, d = _family(f_0, pushed, allowed, delta, temperature, log_pi_0)
    t = _largest_fraction(base, d, room, tolerance).float()
    return _moved(f_0, pushed, inside, delta, temperature, log_pi_0, t, _may_be_cold(temperature, reference))


@kernel
def _family(
    f_0: Tensor, pushed: Tensor, allowed: Tensor, delta: Tensor, temperature: float | Tensor, log_pi_0: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The policies `pi_t`, as the exponential family `pi_0 exp(t d - A(t))` on the tokens that are in play.

    float32 suffices because the numbers that matter are small: log-probabilities, and d centred under pi_0.

    Returns:
        Which tokens are in play, what of the budget is left for t, log pi_0 on them, and d.
    """
    stays = affordable(log_pi_0, allowed, delta)
    inside = allowed | ~stays.unsqueeze(-1)
    base = torch.log_softmax(log_pi_0.masked_fill(~inside, NEG_INF), dim=-1)
    d = _way(f_0, pushed) / per_row(temperature, f_0).unsqueeze(-1)
    if not all_finite(d):
        # Tokens that some branch forbids have probability 0 at every t > 0; they must not meet 0 * inf.
        alive = torch.isfinite(d) & torch.isfinite(base)
        base, d = torch.where(alive, base, NEG_INF), torch.where(alive, d, 0.0)
    room = delta - torch.where(stays, _cost(log_pi_0, allowed), 0.0)
    return inside, room, base, d - dot(probabilities(base), d).unsqueeze(-1)


def _way(f_0: Tensor, pushed: Tensor) -> Tensor:
    """From f_0 to z; 0 for what is impossible from the start."""
    h = pushed - f_0
    possible = torch.isfinite(h)
    if certainly(lambda: possible.all(), h):
        return h
    return torch.where(possible, h, torch.where(torch.isneginf(f_0), 0.0, NEG_INF))


@kernel
def _moved(
    f_0: Tensor,
    pushed: Tensor,
    inside: Tensor,
    delta: Tensor,
    temperature: float | Tensor,
    log_pi_0: Tensor,
    t: Tensor,
    is_cold: bool,
) -> tuple[Tensor, Tensor]:
    """t, and the logits at t, -inf outside."""
    t = torch.where(delta > 0, t, 0.0)  # exactly, though float32 may not see a small divergence
    moved = torch.where((t == 1).unsqueeze(-1), pushed, f_0 + t.unsqueeze(-1) * _way(f_0, pushed))
    moved = torch.where((t == 0).unsqueeze(-1), f_0, moved)
    moved = moved.masked_fill(~inside, NEG_INF)
    if is_cold:
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


def _largest_fraction(base: Tensor, d: Tensor, budget: Tensor, tolerance: float) -> Tensor:
    """The largest t <= 1 with `KL(pi_t || pi_0) <= budget`, shape [batch], float64.

    With the log-partition `A(t) = log E_0[exp(t d)]`, `KL(t) = t E_t[d] - A(t)` and `dKL/dt = t Var_t[d] >= 0`. Hence
    one root, found for all rows at once by Newton steps on sqrt(KL), which is almost linear in t, that fall back to
    bisection when they leave the bracket. A row that is within its budget returns 1.
    """
    one = torch.ones_like(budget)
    kl, variance = _at(base, d, one)
    exceeds = kl > budget + _ROUNDING
    low, high = torch.zeros_like(one), one.clone()
    # A budget of 0 has its answer, t = 0, already.
    open_ = exceeds & (budget > 0)
    # Half the tolerance below the budget, so that a good step lands inside and ends the search.
    goal = (budget - 0.5 * budget.clamp_max(tolerance)).clamp_min(0.0).sqrt()
    state = (one, kl, variance, low, high, low, open_)
    for _ in range(_MAX_ITERATIONS if may_look(d) else _ITERATIONS_UNSEEN):
        if certainly(lambda: ~state[-1].any(), d):  # noqa: B023  # called at once
            break
        state = _narrowed(base, d, budget, goal, tolerance, *state)
    return torch.where(exceeds, state[-2], one)


_State = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


@kernel
def _narrowed(
    base: Tensor,
    d: Tensor,
    budget: Tensor,
    goal: Tensor,
    tolerance: float | Tensor,
    t: Tensor,
    kl: Tensor,
    variance: Tensor,
    low: Tensor,
    high: Tensor,
    found: Tensor,
    open_: Tensor,
) -> _State:
    """One step of the search: t with its KL and variance, the bracket, what was found, and which rows go on."""
    step = _newton_step(t, kl, variance, goal)
    t = torch.where((step > low) & (step < high), step, 0.5 * (low + high))
    kl, variance = _at(base, d, t)
    fits = kl <= budget
    # Rows that are done stay as they are, so that no row's answer depends on how long its neighbours search.
    low, high = torch.where(open_ & fits, t, low), torch.where(open_ & ~fits, t, high)
    ends = fits & (budget - kl <= tolerance)
    # One more step, unchecked because it is so short, ends at the goal itself wherever the search came from.
    last = _newton_step(t, kl, variance, goal)
    found = torch.where(open_, torch.where(ends & (last > 0) & (last < high), last, low), found)
    return t, kl, variance, low, high, found, open_ & ~ends & (high - low > 1e-12)


def _newton_step(t: Tensor, kl: Tensor, variance: Tensor, goal: Tensor) -> Tensor:
    """Where sqrt(KL) reaches `goal` if it goes on as steeply as at t: its derivative there is t Var / (2 sqrt(KL))."""
    # Near 0 float32 does not see KL, which is t^2 Var / 2 there.
    root = torch.where(kl > _UNSEEN, kl, 0.5 * t.square() * variance).clamp_min(1e-30).sqrt()
    return t + 2 * root * (goal - root) / (t * variance).clamp_min(1e-30)


@kernel
def _at(base: Tensor, d: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """KL(pi_t || pi_0) and Var_t[d], each [batch], float64."""
    logits = torch.addcmul(base, t.to(d.dtype).unsqueeze(-1), d)
    top = logits.amax(dim=-1, keepdim=True)
    if may_look(d):
        pi = torch.softmax(logits, dim=-1)
        log_z = top[:, 0].double() - pi.amax(dim=-1).double().log()
        first = pi.mul_(d)
        mean, second = first.sum(dim=-1), dot(first, d)
    else:  # the same in one pass after the maximum
        mass = (logits - top).exp()
        total = mass.sum(dim=-1)
        log_z = top[:, 0].double() + total.double().log()
        first = mass * d
        mean, second = first.sum(dim=-1) / total, dot(first, d) / total
    variance = second - mean.square()
    return (t * mean.double() - log_z).clamp_min(0.0), variance.double()
