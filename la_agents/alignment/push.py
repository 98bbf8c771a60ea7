"""Push: how far each token and each step is moved beyond what prompting alone gives.

With p_0, p_1 the policies of f(0) and f(1), d = log p_1 - log p_0 and gamma the strength,

    uniform     z = f(1 + gamma)                                          the paper's closed form
    tapered     z = log p_1 + gamma (p_1 / max p_1)^kappa d               by each token's own plausibility
    adaptive    gamma sqrt(JSD(p_1, p_0) / ln 2) in the place of gamma    by how far the step is about the principles

The uniform push costs fluency by what it does to implausible tokens, whose logits are noise: tapering leaves those
where they are and still moves the plausible ones fully (selective prompt anchoring, Tian & Zhang, ICLR
2025, arXiv 2408.09121, scales logits so). The Jensen-Shannon divergence as a measure of conflict is AdaCAD's (Wang et
al., NAACL 2025, arXiv 2409.07394). Below prompting (gamma < 0) all are the line, so that gamma = -1 is f(0).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from la_agents.alignment.kernel import kernel
from la_agents.alignment.line import (
    NEG_INF,
    all_are,
    all_finite,
    beside,
    column,
    dot,
    line,
    per_row,
    probabilities,
    prompted,
)

__all__ = ["conflict", "pushed", "reach"]

_LN_2 = math.log(2.0)
_LOWEST = torch.finfo(torch.float32).min


def pushed(
    reference: Tensor,
    branches: Tensor,
    weights: Tensor,
    scale: float | Tensor,
    taper: float | Tensor = 0.0,
    *,
    adaptive: bool | Tensor = False,
    log_p_0: Tensor | None = None,
    log_p_1: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The pushed logits z [batch, vocab] and the gamma of the step [batch], both float32.

    Args:
        scale: `s = 1 + gamma`, a number or [batch].
        taper: kappa >= 0, a number or [batch]; 0 moves every token alike.
        adaptive: Whether gamma follows the conflict of the step, a flag or [batch].
        log_p_0: `policy(reference)`, where it is known already; log_p_1 is that of f(1). Where both are given, all may
            be for a part of the vocabulary, unless gamma follows the conflict.
    """
    scale, taper = beside(scale, reference), beside(taper, reference)
    adapts = beside(adaptive, reference)
    gamma = per_row(scale, reference).float() - 1
    uniform = ((taper == 0) & (adapts == 0)) | (scale <= 1)  # [batch], or one for all where all three are numbers
    if all_are(uniform, True):
        return line(reference, branches, weights, scale), gamma
    log_p_1 = torch.log_softmax(prompted(reference, branches, weights), dim=-1) if log_p_1 is None else log_p_1
    log_p_0 = torch.log_softmax(reference.float(), dim=-1) if log_p_0 is None else log_p_0
    if not all_are(adapts, 0):
        follows = per_row((adapts != 0) & (uniform == 0), reference) != 0
        gamma = torch.where(follows, gamma * conflict(log_p_1, log_p_0), gamma)
    z = _tapered(log_p_0, log_p_1, gamma, taper)
    if isinstance(uniform, Tensor) and not all_are(uniform, False):
        z = torch.where(uniform.unsqueeze(-1), line(reference, branches, weights, scale), z)
    return z, gamma


@kernel
def _tapered(log_p_0: Tensor, log_p_1: Tensor, gamma: Tensor, kappa: float | Tensor) -> Tensor:
    """`log p_1 + gamma (p_1 / max p_1)^kappa d`; a token that is impossible in either stays impossible."""
    top = log_p_1.amax(dim=-1, keepdim=True)
    gamma, kappa = gamma.unsqueeze(-1), column(kappa, log_p_1)
    fraction = (log_p_1 - top).mul_(kappa).exp_()
    d = log_p_1 - log_p_0
    z = log_p_1 + fraction.mul_(d).mul_(gamma)
    if all_finite(z):
        return z
    possible = torch.isfinite(log_p_0) & torch.isfinite(log_p_1)
    finite = torch.where(possible, log_p_1, top)  # any number: these tokens are ruled out below
    fraction = ((finite - top) * kappa).exp()
    return torch.where(possible, finite + gamma * fraction * torch.where(possible, d, 0.0), NEG_INF)


@kernel
def reach(f_1: Tensor, tokens: Tensor, gamma: Tensor, taper: float | Tensor) -> Tensor:
    """The scale at which these tokens stand, [batch]: `1 + gamma (p_1 / max p_1)^kappa`; `1 + gamma` where uniform.

    Args:
        f_1: f(1) [batch, vocab].
        tokens: [batch].
        gamma: Of the step, [batch], as `pushed` returns it.
    """
    below = f_1.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - f_1.amax(dim=-1)
    kappa = beside(taper, f_1) * (gamma > 0)
    return 1 + gamma * (kappa * below.clamp_min(_LOWEST)).exp()  # finite, so that 0 times it is 0


def conflict(log_p_1: Tensor, log_p_0: Tensor) -> Tensor:
    """`sqrt(JSD(p_1, p_0) / ln 2)`, shape [batch], from 0 (the branches agree) to 1 (they share no token)."""
    middle = torch.logaddexp(log_p_1, log_p_0) - _LN_2
    halves = [dot(probabilities(log_p), (log_p - middle).nan_to_num(0.0, neginf=0.0)) for log_p in (log_p_1, log_p_0)]
    return ((halves[0] + halves[1]) / (2 * _LN_2)).clamp(0.0, 1.0).sqrt()
