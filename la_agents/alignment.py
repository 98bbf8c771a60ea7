"""Linear Alignment as pure functions: tensors in, tensors out; no model, no state, nothing else of this library.

Gao et al., "Linear Alignment: A Closed-form Solution for Aligning Human Preferences without Tuning and Feedback",
ICML 2024, arXiv 2401.11458. At one decoding step, after the same tokens:

    f_0                                 logits of the reference branch: the prompt without principles
    f_i                                 logits of principle branch i: the same prompt with principle i, i = 1..k
    g_i  = f_i - f_0                    direction, the self-contrastive estimate of dQ_i/df        (section 3.3)
    f(s) = f_0 + s * sum_i w_i g_i      the line of policies, pi_s = softmax(f(s) / T)

    s = 0          the model as it is
    s = 1          what prompting alone gives (k = 1, w = 1)
    s = 1 + gamma  Linear Alignment: f_1 + gamma (f_1 - f_0), the closed form; gamma is called `strength`

The divergence KL(pi_s || pi_0) grows with s, so the solution under the constraint KL <= delta (`max_divergence`,
nats per token) is the largest admissible s. What remains is masked to the nucleus of f(1), the *support*.

Shapes, everywhere: `reference [batch, vocab]`, `branches [batch, k, vocab]`, `weights [batch, k]`; a scale, a budget
or a temperature is a number or `[batch]`. All arithmetic is float32 (the root search float64), whatever comes in. A
logit of -inf means "impossible"; 0 * -inf counts as 0, so that the ends of the line are the branches exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["direction", "divergence", "divergence_scale", "line", "nucleus", "policy", "support"]

_NEG_INF = float("-inf")
_FIRST_TOP_K = 64
_MAX_ITERATIONS = 60


def direction(reference: Tensor, branches: Tensor, weights: Tensor) -> Tensor:
    """`sum_i w_i (f_i - f_0)`, shape [batch, vocab]: where the principles push each logit.

    A token that is impossible in both branches is not pushed (0); one that a principle alone forbids is pushed to -inf.
    """
    f_0 = reference.float().unsqueeze(1)
    g = torch.where(torch.isneginf(f_0) & torch.isneginf(branches), 0.0, branches.float() - f_0)
    w = weights.float().unsqueeze(-1)
    return torch.where(w == 0, 0.0, w * g).sum(dim=1)


def line(reference: Tensor, branches: Tensor, weights: Tensor, scale: float | Tensor) -> Tensor:
    """`f(s)`, shape [batch, vocab], float32.

    Computed as `(1 - s W) f_0 + s sum_i w_i f_i` with `W = sum_i w_i`: for one principle of weight 1 this is the
    authors' `(1 + gamma) f_1 - gamma f_0`, and s = 0 and s = 1 give f_0 and f_1 bit for bit. Between and beyond, a
    token impossible in a branch that takes part is impossible.
    """
    s, w = _per_row(scale, reference).float(), weights.float()
    total = _term(1.0 - s * w.sum(dim=1), reference.float())
    for i in range(branches.shape[1]):
        total = total + _term(s * w[:, i], branches[:, i].float())
    return torch.where(torch.isfinite(total), total, _NEG_INF)


def policy(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """`log pi = log_softmax(f / T)`, shape [batch, vocab], float32; T > 0."""
    return torch.log_softmax(logits.float() / _per_row(temperature, logits).unsqueeze(-1), dim=-1)


def divergence(logits: Tensor, reference: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """`KL(pi || pi_0)` in nats, shape [batch], over the whole vocabulary; >= 0, inf where pi leaves pi_0's support."""
    log_pi, log_pi_0 = policy(logits, temperature), policy(reference, temperature)
    terms = torch.where(torch.isneginf(log_pi), 0.0, log_pi.exp() * (log_pi - log_pi_0))
    return terms.sum(dim=-1).clamp_min(0.0)


def divergence_scale(
    reference: Tensor,
    branches: Tensor,
    weights: Tensor,
    cap: float | Tensor,
    budget: float | Tensor,
    temperature: float | Tensor = 1.0,
    *,
    tolerance: float = 1e-5,
) -> Tensor:
    """The largest s <= cap with `KL(pi_s || pi_0) <= budget`, shape [batch], float64.

    With `a = f_0 / T` and `d = direction / T`, pi_s is an exponential family in s: `KL(s) = s E_s[d] - A(s) + A(0)` for
    the log-partition A, and `dKL/ds = s Var_s[d] >= 0`. Hence one root, found for all rows at once by Newton steps that
    fall back to bisection when they leave the bracket. A row whose cap is within its budget (or <= 0) returns its cap.

    Args:
        cap: The scale wanted, `1 + strength`.
        budget: delta, nats per token, >= 0; inf switches the constraint off.
        tolerance: How far below the budget the divergence may end, in nats.
    """
    t = _per_row(temperature, reference).double().unsqueeze(-1)
    a = reference.double() / t
    d = direction(reference, branches, weights).double() / t
    # Tokens that some branch forbids have probability 0 at every s > 0; they must not meet 0 * inf below.
    alive = torch.isfinite(a) & torch.isfinite(d)
    d = torch.where(alive, d, 0.0)
    start = torch.where(alive, a, _NEG_INF)
    log_z_0 = torch.logsumexp(a, dim=-1)
    cap_, budget_ = _per_row(cap, reference).double(), _per_row(budget, reference).double()

    kl, _ = _family(start, d, cap_, log_z_0)
    exceeds = (kl > budget_) & (cap_ > 0)
    low, high = torch.zeros_like(cap_), cap_.clone()
    # KL is s^2 Var / 2 near 0: the first guess.
    _, variance = _family(start, d, low, log_z_0)
    s = (2 * budget_ / variance.clamp_min(1e-30)).sqrt()
    s = torch.where((s > low) & (s < high), s, 0.5 * (low + high))
    # A budget of 0 has its answer, s = 0, already.
    open_ = exceeds & (budget_ > 0)
    for _ in range(_MAX_ITERATIONS):
        if not bool(open_.any()):
            break
        kl, variance = _family(start, d, s, log_z_0)
        inside = kl <= budget_
        # Rows that are done stay as they are, so that no row's answer depends on how long its neighbours search.
        low, high = torch.where(open_ & inside, s, low), torch.where(open_ & ~inside, s, high)
        open_ = open_ & ~(inside & (budget_ - kl <= tolerance)) & (high - low > 1e-12)
        # Aim half the tolerance below the budget, so that a good step lands inside and ends the search.
        step = s + (budget_ - 0.5 * tolerance - kl) / (s * variance).clamp_min(1e-30)
        s = torch.where((step > low) & (step < high), step, 0.5 * (low + high))
    return torch.where(exceeds, low, cap_)


def nucleus(logits: Tensor, p: float | Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """The top-p nucleus of `softmax(f / T)` as a mask, shape [batch, vocab], bool; never empty.

    In descending order a token is dropped if the mass before it is >= p, so the token that crosses p stays; equal
    probabilities rank by token id. Exactly the set that sorting the vocabulary gives, but on a CPU only a head that
    surely covers p is sorted: a full sort costs more than everything else of a step. p >= 1 keeps all that is possible.
    """
    p_ = _per_row(p, logits).unsqueeze(-1)
    probabilities = policy(logits, temperature).exp()
    vocab = probabilities.shape[-1]
    if bool((p_ >= 1).all()):
        return torch.isfinite(logits)
    k = vocab if probabilities.is_cuda else min(_FIRST_TOP_K, vocab)
    while True:
        head = probabilities.topk(k, dim=-1).values
        mass = head.cumsum(dim=-1)
        if k == vocab or bool(((mass[:, -1:] >= p_) | (p_ >= 1)).all()):
            break
        k = min(8 * k, vocab)
    before = torch.cat([torch.zeros_like(mass[:, :1]), mass[:, :-1]], dim=-1)
    kept = (before < p_).sum(dim=-1, keepdim=True).clamp_min(1)
    threshold = head.gather(-1, kept - 1)
    mask = probabilities > threshold
    ties = probabilities == threshold
    wanted = kept - mask.sum(dim=-1, keepdim=True)
    mask |= ties & (ties.cumsum(dim=-1) <= wanted)
    return torch.where(p_ >= 1, torch.isfinite(logits), mask)


def support(
    reference: Tensor, branches: Tensor, weights: Tensor, p: float | Tensor, mask_temperature: float | Tensor
) -> Tensor:
    """The tokens alignment may choose from: the nucleus of `softmax(f(1) / T_m)`, shape [batch, vocab], bool.

    f(1) is what the principles alone make of the model, before it is extrapolated: a token they find implausible is
    never chosen however far s reaches (the authors' code takes the nucleus of f_1).
    """
    return nucleus(line(reference, branches, weights, 1.0), p, mask_temperature)


def _family(start: Tensor, d: Tensor, s: Tensor, log_z_0: Tensor) -> tuple[Tensor, Tensor]:
    """KL(pi_s || pi_0) and Var_s[d] of the family `softmax(start + s d)`, each [batch]."""
    logits = start + s.unsqueeze(-1) * d
    log_z = torch.logsumexp(logits, dim=-1)
    p = (logits - log_z.unsqueeze(-1)).exp()
    mean = (p * d).sum(dim=-1)
    variance = (p * (d - mean.unsqueeze(-1)) ** 2).sum(dim=-1)
    return s * mean - log_z + log_z_0, variance


def _term(coefficient: Tensor, logits: Tensor) -> Tensor:
    """`c * f` a row, with 0 * -inf = 0."""
    c = coefficient.unsqueeze(-1)
    return torch.where(c == 0, 0.0, c * logits)


def _per_row(value: float | Tensor, like: Tensor) -> Tensor:
    """A number or [batch] as float32 or wider [batch] on the device of `like`."""
    value = torch.as_tensor(value, device=like.device)
    value = value if value.dtype == torch.float64 else value.float()
    return value.expand(like.shape[0])
