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
or a temperature is a number or `[batch]`. All arithmetic is float32, whatever comes in. A logit of -inf means
"impossible"; 0 * -inf counts as 0, so that the ends of the line are the branches exactly.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "budgeted_line",
    "direction",
    "divergence",
    "divergence_scale",
    "line",
    "nucleus",
    "nucleus_head",
    "policy",
    "probabilities",
    "relative_entropy",
    "support",
]

_NEG_INF = float("-inf")
_FIRST_TOP_K = 64
BLOCK = 64
"""Tokens that are looked at together: on a CPU a maximum or a sum costs a tenth of an argmax, a top-k or a cumsum."""
_MAX_ITERATIONS = 60
_ROUNDING = 1e-6  # nats; of float32, so that branches that say the same are not taken to diverge


def direction(reference: Tensor, branches: Tensor, weights: Tensor) -> Tensor:
    """`sum_i w_i (f_i - f_0)`, shape [batch, vocab]: where the principles push each logit.

    A token that is impossible in both branches is not pushed (0); one that a principle alone forbids is pushed to -inf.
    """
    f_0, w = reference.float(), weights.float()
    total = torch.zeros_like(f_0)
    for i in range(branches.shape[1]):
        total += w[:, i : i + 1] * (branches[:, i].float() - f_0)
    if _all_finite(total):
        return total
    g = torch.where(
        torch.isneginf(f_0).unsqueeze(1) & torch.isneginf(branches), 0.0, branches.float() - f_0.unsqueeze(1)
    )
    return torch.where(w.unsqueeze(-1) == 0, 0.0, w.unsqueeze(-1) * g).sum(dim=1)


def line(reference: Tensor, branches: Tensor, weights: Tensor, scale: float | Tensor) -> Tensor:
    """`f(s)`, shape [batch, vocab], float32.

    Computed as `(1 - s W) f_0 + s sum_i w_i f_i` with `W = sum_i w_i`: for one principle of weight 1 this is the
    authors' `(1 + gamma) f_1 - gamma f_0`, and s = 0 and s = 1 give f_0 and f_1 bit for bit. Between and beyond, a
    token impossible in a branch that takes part is impossible.
    """
    s, w = _per_row(scale, reference).float(), weights.float()
    coefficients = torch.cat([(1.0 - s * w.sum(dim=1)).unsqueeze(1), s.unsqueeze(1) * w], dim=1)
    terms = [reference.float(), *(branch.float() for branch in branches.unbind(dim=1))]
    total = coefficients[:, :1] * terms[0]
    for i, term in enumerate(terms[1:], start=1):
        total += coefficients[:, i : i + 1] * term
    if _all_finite(total):
        return total
    exact = (
        torch.where(c == 0, 0.0, c * f) for c, f in zip(coefficients.unsqueeze(-1).unbind(dim=1), terms, strict=True)
    )
    total = torch.stack(list(exact)).sum(dim=0)
    return torch.where(torch.isfinite(total), total, _NEG_INF)


def policy(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """`log pi = log_softmax(f / T)`, shape [batch, vocab], float32; T > 0."""
    return torch.log_softmax(_tempered(logits, temperature), dim=-1)


def probabilities(log_pi: Tensor) -> Tensor:
    """`exp(log pi)` of a policy, shape [batch, vocab]; by softmax, which on a CPU takes half the time of `exp`."""
    return torch.softmax(log_pi, dim=-1)


def divergence(logits: Tensor, reference: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """`KL(pi || pi_0)` in nats, shape [batch], over the whole vocabulary; >= 0, inf where pi leaves pi_0's support."""
    return relative_entropy(policy(logits, temperature), policy(reference, temperature))


def relative_entropy(log_pi: Tensor, log_pi_0: Tensor) -> Tensor:
    """`divergence` of two policies that are known already, as log-probabilities [batch, vocab]."""
    total = _dot(probabilities(log_pi), log_pi - log_pi_0)
    if not _all_finite(total):
        total = torch.where(torch.isneginf(log_pi), 0.0, log_pi.exp() * (log_pi - log_pi_0)).sum(dim=-1)
    return total.clamp_min(0.0)


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

    With `d = direction / T`, pi_s is an exponential family in s: `KL(s) = s E_s[d] - A(s)` for the log-partition
    `A(s) = log E_0[exp(s d)]`, and `dKL/ds = s Var_s[d] >= 0`. Hence one root, found for all rows at once by Newton
    steps on sqrt(KL), which is almost linear in s, that fall back to bisection when they leave the bracket. A row whose
    cap is within its budget (or <= 0) returns its cap.

    Args:
        cap: The scale wanted, `1 + strength`.
        budget: delta, nats per token, >= 0; inf switches the constraint off.
        tolerance: How far below the budget the divergence may end, in nats.
    """
    family = _Family(policy(reference, temperature), direction(reference, branches, weights), temperature)
    cap_, budget_ = _per_row(cap, reference).double(), _per_row(budget, reference).double()
    kl, variance = family.at(cap_)
    exceeds = (kl > budget_ + _ROUNDING) & (cap_ > 0)
    low, high = torch.zeros_like(cap_), cap_.clone()
    # A budget of 0 has its answer, s = 0, already.
    open_ = exceeds & (budget_ > 0)
    # Half the tolerance below the budget, so that a good step lands inside and ends the search.
    goal = (budget_ - 0.5 * torch.minimum(budget_.new_tensor(tolerance), budget_)).sqrt()
    s, found = cap_, low
    for _ in range(_MAX_ITERATIONS):
        if not bool(open_.any()):
            break
        step = _newton_step(s, kl, variance, goal)
        s = torch.where((step > low) & (step < high), step, 0.5 * (low + high))
        kl, variance = family.at(s)
        inside = kl <= budget_
        # Rows that are done stay as they are, so that no row's answer depends on how long its neighbours search.
        low, high = torch.where(open_ & inside, s, low), torch.where(open_ & ~inside, s, high)
        ends = inside & (budget_ - kl <= tolerance)
        # One more step, unchecked because it is so short, ends at the goal itself wherever the search came from.
        last = _newton_step(s, kl, variance, goal)
        found = torch.where(open_, torch.where(ends & (last > 0) & (last < high), last, low), found)
        open_ = open_ & ~ends & (high - low > 1e-12)
    return torch.where(exceeds, found, cap_)


def _newton_step(s: Tensor, kl: Tensor, variance: Tensor, goal: Tensor) -> Tensor:
    """Where sqrt(KL) reaches `goal` if it goes on as steeply as at s: its derivative there is s Var / (2 sqrt(KL))."""
    root = kl.clamp_min(1e-30).sqrt()
    return s + 2 * root * (goal - root) / (s * variance).clamp_min(1e-30)


def budgeted_line(
    reference: Tensor,
    branches: Tensor,
    weights: Tensor,
    cap: float | Tensor,
    budget: float | Tensor = math.inf,
    temperature: float | Tensor = 1.0,
) -> tuple[Tensor, Tensor]:
    """s [batch] and `f(s)` [batch, vocab], both float32, for the largest s <= cap within the budget."""
    if isinstance(budget, float) and math.isinf(budget):
        s = _per_row(cap, reference).float()
    else:
        s = divergence_scale(reference, branches, weights, cap, budget, temperature).float()
    return s, line(reference, branches, weights, s)


def nucleus(logits: Tensor, p: float | Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """The top-p nucleus of `softmax(f / T)` as a mask, shape [batch, vocab], bool; never empty.

    In descending order a token is dropped if the mass before it is >= p, so the token that crosses p stays; equal
    probabilities rank by token id. p >= 1 keeps all that is possible.
    """
    if bool((_per_row(p, logits) >= 1).all()):
        return torch.isfinite(logits)
    tokens, kept = nucleus_head(logits, p, temperature)
    return torch.zeros_like(logits, dtype=torch.bool).scatter(-1, tokens, kept)


def nucleus_head(logits: Tensor, p: float | Tensor, temperature: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
    """The nucleus as token ids in descending order and which of them are in it, each [batch, k].

    Exactly the set that sorting the vocabulary gives. A full sort would cost more than everything else of a step, so on
    a CPU only a head that covers p is sorted; where equal probabilities straddle its edge, the sort decides after all.
    """
    pi = torch.softmax(_tempered(logits, temperature), dim=-1)
    p_ = _per_row(p, logits).unsqueeze(-1)
    k = pi.shape[-1] if pi.is_cuda else _FIRST_TOP_K
    while k < pi.shape[-1]:
        head, tokens = _largest(pi, k)
        kept = _kept(head, p_)
        cut = kept[:, :-1] & ~kept[:, 1:] & (head[:, :-1] == head[:, 1:])
        if not bool(kept[:, -1].any() | cut.any()):
            return tokens, kept
        k = pi.shape[-1] if bool(cut.any()) else 8 * k
    head, tokens = pi.sort(dim=-1, descending=True, stable=True)
    return tokens, torch.where(p_ >= 1, torch.isfinite(logits.gather(-1, tokens)), _kept(head, p_))


def support(
    reference: Tensor, branches: Tensor, weights: Tensor, p: float | Tensor, mask_temperature: float | Tensor
) -> Tensor:
    """The tokens alignment may choose from: the nucleus of `softmax(f(1) / T_m)`, shape [batch, vocab], bool.

    f(1) is what the principles alone make of the model, before it is extrapolated: a token they find implausible is
    never chosen however far s reaches (the authors' code takes the nucleus of f_1).
    """
    return nucleus(line(reference, branches, weights, 1.0), p, mask_temperature)


class _Family:
    """The policies `pi_s` along the line, as the exponential family `pi_0 exp(s d - A(s))`.

    float32 suffices because the numbers that matter are small: log-probabilities, and d centred under pi_0.
    """

    def __init__(self, log_pi_0: Tensor, direction_: Tensor, temperature: float | Tensor) -> None:
        d = direction_ / _per_row(temperature, direction_).unsqueeze(-1)
        if not _all_finite(d):
            # Tokens that some branch forbids have probability 0 at every s > 0; they must not meet 0 * inf.
            alive = torch.isfinite(d) & torch.isfinite(log_pi_0)
            log_pi_0, d = torch.where(alive, log_pi_0, _NEG_INF), torch.where(alive, d, 0.0)
        self._log_pi_0 = log_pi_0
        self._d = d - _dot(probabilities(log_pi_0), d).unsqueeze(-1)

    def at(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """KL(pi_s || pi_0) and Var_s[d], each [batch], float64."""
        logits = torch.addcmul(self._log_pi_0, s.to(self._d.dtype).unsqueeze(-1), self._d)
        pi = torch.softmax(logits, dim=-1)
        log_z = logits.amax(dim=-1).double() - pi.amax(dim=-1).double().log()
        first = pi.mul_(self._d)
        mean = first.sum(dim=-1)
        variance = _dot(first, self._d) - mean.square()
        return (s * mean.double() - log_z).clamp_min(0.0), variance.double()


def _largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`topk` in a fraction of its time: the k largest lie in the k blocks with the largest maxima."""
    batch, vocab = values.shape
    num_blocks = vocab // BLOCK
    if vocab % BLOCK or num_blocks < 4 * k:
        return values.topk(k, dim=-1)
    blocks = values.view(batch, num_blocks, BLOCK)
    chosen = blocks.amax(dim=-1).topk(k, dim=-1).indices
    candidates = blocks.gather(1, chosen.unsqueeze(-1).expand(-1, -1, BLOCK)).flatten(1)
    head, places = candidates.topk(k, dim=-1)
    return head, chosen.gather(1, places // BLOCK) * BLOCK + places % BLOCK


def _kept(head: Tensor, p: Tensor) -> Tensor:
    """Which of the probabilities `head`, in descending order from the greatest, are in the nucleus."""
    mass = head.cumsum(dim=-1)
    before = torch.cat([torch.zeros_like(mass[:, :1]), mass[:, :-1]], dim=-1)
    kept = before < p
    kept[:, 0] = True
    return kept


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of rows, [batch]; on a CPU several times as fast as a matrix product of single rows."""
    return (a * b).sum(dim=-1)


def _all_finite(x: Tensor) -> bool:
    """Whether no element is inf or nan, in one pass: a sum shows either."""
    return bool(torch.isfinite(x.sum()))


def _tempered(logits: Tensor, temperature: float | Tensor) -> Tensor:
    """`f / T`, float32; without a copy where every T is 1."""
    t = _per_row(temperature, logits)
    return logits.float() if bool((t == 1).all()) else logits.float() / t.unsqueeze(-1)


def _per_row(value: float | Tensor, like: Tensor) -> Tensor:
    """A number or [batch] as float32 or wider [batch] on the device of `like`."""
    value = torch.as_tensor(value, device=like.device)
    value = value if value.dtype == torch.float64 else value.float()
    return value.expand(like.shape[0])
