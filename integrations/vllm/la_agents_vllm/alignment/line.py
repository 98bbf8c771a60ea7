"""Line: the policies between the model as it is and what the principles make of it, and beyond."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from la_agents_vllm.alignment.kernel import kernel

__all__ = ["direction", "distribution", "divergence", "line", "policy", "probabilities", "prompted", "relative_entropy"]

NEG_INF = float("-inf")
_LOWEST = torch.finfo(torch.float32).min


def direction(reference: Tensor, branches: Tensor, weights: Tensor) -> Tensor:
    """`sum_i w_i (f_i - f_0)`, shape [batch, vocab]: where the principles push each logit.

    A token that is impossible in both branches is not pushed (0); one that a principle alone forbids is pushed to -inf.
    """
    f_0, w = reference.float(), weights.float()
    total = torch.zeros_like(f_0)
    for i in range(branches.shape[1]):
        total += w[:, i : i + 1] * (branches[:, i].float() - f_0)
    if all_finite(total):
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
    s, w = per_row(scale, reference).float(), weights.float()
    coefficients = torch.cat([(1.0 - s * w.sum(dim=1)).unsqueeze(1), s.unsqueeze(1) * w], dim=1)
    terms = [reference.float(), *(branch.float() for branch in branches.unbind(dim=1))]
    if not may_look(reference):
        return _exactly(torch.stack(terms, dim=1), coefficients)
    total = coefficients[:, :1] * terms[0]
    for i, term in enumerate(terms[1:], start=1):
        total += coefficients[:, i : i + 1] * term
    if all_finite(total):
        return total
    return _exactly(torch.stack(terms, dim=1), coefficients)


@kernel
def _exactly(terms: Tensor, coefficients: Tensor) -> Tensor:
    """The sum of terms [batch, n, vocab] with these coefficients [batch, n], where some of them are infinite."""
    c = coefficients.unsqueeze(-1)
    total = torch.where(c == 0, 0.0, c * terms).sum(dim=1)
    return torch.where(torch.isfinite(total), total, NEG_INF)


def prompted(reference: Tensor, branches: Tensor, weights: Tensor) -> Tensor:
    """`f(1)`, shape [batch, vocab], float32: what prompting alone gives; of one branch of weight 1, that branch."""
    if branches.shape[1] == 1 and certainly(lambda: (weights == 1).all(), branches):
        return branches[:, 0].float()
    return line(reference, branches, weights, 1.0)


@kernel
def policy(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """`log pi = log_softmax(f / T)`, shape [batch, vocab], float32; T > 0."""
    return torch.log_softmax(tempered(logits, temperature), dim=-1)


def distribution(
    logits: Tensor, temperature: float | Tensor = 1.0, tokens: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`policy` and its probabilities, [batch, vocab] each, for one pass of exponentials.

    Args:
        tokens: [batch, n], where the policy alone is wanted; then it is [batch, n].
    """
    if not may_look(logits):
        log_pi, pi = _distribution(logits, temperature)
        return (log_pi if tokens is None else log_pi.gather(-1, tokens)), pi
    x = tempered(logits, temperature)
    pi = torch.softmax(x, dim=-1)
    # The likeliest token's probability tells the partition function.
    log_z = x.amax(dim=-1, keepdim=True) - pi.amax(dim=-1, keepdim=True).log()
    return (x if tokens is None else x.gather(-1, tokens)) - log_z, pi


@kernel
def _distribution(logits: Tensor, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
    log_pi = torch.log_softmax(tempered(logits, temperature), dim=-1)
    return log_pi, log_pi.exp()


def probabilities(log_pi: Tensor) -> Tensor:
    """`exp(log pi)` of a policy, shape [batch, vocab]; by softmax, which on a CPU takes half the time of `exp`."""
    return torch.softmax(log_pi, dim=-1)


def divergence(logits: Tensor, reference: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """`KL(pi || pi_0)` in nats, shape [batch], over the whole vocabulary; >= 0, inf where pi leaves pi_0's support."""
    return relative_entropy(policy(logits, temperature), policy(reference, temperature))


@kernel
def relative_entropy(log_pi: Tensor, log_pi_0: Tensor, pi: Tensor | None = None) -> Tensor:
    """`divergence` of two policies that are known already, as log-probabilities [batch, vocab]; so may pi be."""
    # A token outside pi's support has probability 0, and counts as 0: never as 0 * -inf.
    total = dot(probabilities(log_pi) if pi is None else pi, (log_pi - log_pi_0).clamp_min(_LOWEST))
    if not all_finite(total):
        total = torch.where(torch.isneginf(log_pi), 0.0, log_pi.exp() * (log_pi - log_pi_0)).sum(dim=-1)
    return total.clamp_min(0.0)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of rows, [batch]; on a CPU several times as fast as a matrix product of single rows."""
    return (a * b).sum(dim=-1)


def certainly(condition: Callable[[], Tensor], like: Tensor) -> bool:
    """Whether a condition holds, where looking at it is free: on a CPU.

    On a GPU looking would wait for all work before it, so nothing is certain there: shortcuts are taken on a CPU alone,
    and what stands beside them is right for all values.
    """
    return may_look(like) and bool(condition())


def all_are(value: float | Tensor, number: float) -> bool:
    """Whether it is certain that a value is this number for all rows."""
    return holds(lambda x: x == number, value)


def holds(condition: Callable[[Any], Any], value: float | Tensor) -> bool:
    """Whether it is certain that a value fulfils a condition for all rows; a number is asked without an operation."""
    if isinstance(value, Tensor):
        return certainly(lambda: condition(value).all(), value)
    return bool(condition(value))


def may_look(x: Tensor) -> bool:
    """Whether the host may look at what is in x."""
    return not x.is_cuda


def all_finite(x: Tensor) -> bool:
    """Whether it is certain that no element is inf or nan, in one pass: a sum shows either."""
    return certainly(lambda: torch.isfinite(x.sum()), x)


def tempered(logits: Tensor, temperature: float | Tensor) -> Tensor:
    """`f / T`, float32; without a copy where every T is 1."""
    if not isinstance(temperature, Tensor):
        return logits.float() if temperature == 1 else logits.float() / temperature
    t = per_row(temperature, logits)
    return logits.float() if certainly(lambda: (t == 1).all(), logits) else logits.float() / t.unsqueeze(-1)


def per_row(value: float | Tensor, like: Tensor) -> Tensor:
    """A number or [batch] as float32 or wider [batch] on the device of `like`."""
    if not isinstance(value, Tensor):
        return torch.full(like.shape[:1], value, dtype=torch.float64, device=like.device).float()
    value = value.to(like.device)
    value = value if value.dtype == torch.float64 else value.float()
    return value.expand(like.shape[0])


def beside(value: float | Tensor, like: Tensor) -> float | Tensor:
    """A number as it is, which costs no operation, or `per_row`."""
    return per_row(value, like) if isinstance(value, Tensor) else value


def column(value: float | Tensor, like: Tensor) -> float | Tensor:
    """The same for all tokens of a row: a number as it is, or [batch, 1]."""
    return per_row(value, like).unsqueeze(-1) if isinstance(value, Tensor) else value
