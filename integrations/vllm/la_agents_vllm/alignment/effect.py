"""Effect: what alignment did to the tokens that were chosen, for reports and for bounds on fluency."""

from __future__ import annotations

import torch
from torch import Tensor

from la_agents_vllm.alignment.kernel import kernel
from la_agents_vllm.alignment.line import policy, probabilities

__all__ = ["contributions", "cost"]

_LOWEST = -1e9


@kernel
def contributions(
    reference: Tensor,
    branches: Tensor,
    weights: Tensor,
    tokens: Tensor,
    scale: Tensor,
    temperature: float | Tensor,
    pi_0: Tensor,
) -> Tensor:
    """`s w_i (g_i[token] - E_pi_0[g_i]) / T`, [batch, k]: first-order change of log pi(token) by branch i.

    Centring under the reference makes it independent of a constant added to a branch's logits, and additive.

    Args:
        tokens: The chosen ones, [batch].
        scale: The s at which each stands, [batch].
        pi_0: The reference's probabilities at this temperature, [batch, vocab].
    """
    g = branches - reference.unsqueeze(1)
    mean = (g * pi_0.unsqueeze(1)).sum(dim=-1)
    at_token = g.gather(-1, tokens[:, None, None].expand(-1, g.shape[1], 1)).squeeze(-1)
    factor = (scale / temperature).unsqueeze(-1) * weights
    return factor * torch.where(torch.isfinite(at_token - mean), at_token - mean, 0.0)


@kernel
def cost(f_1: Tensor, tokens: Tensor, temperature: float | Tensor, greedy: Tensor) -> Tensor:
    """Nats by which each token is less likely under the principles than their own choice, [batch].

    That is their likeliest token where decoding is greedy, and what they give on average where tokens are drawn.
    """
    log_p_1 = policy(f_1, temperature)
    average = (probabilities(log_p_1) * log_p_1.clamp_min(_LOWEST)).sum(dim=-1)
    own = torch.where(greedy, log_p_1.amax(dim=-1), average)
    return own - log_p_1.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
