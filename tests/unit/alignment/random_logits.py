"""Random logits for the tests of the method, and the method's quantities written down apart from the library's."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import log_softmax

__all__ = ["NEG_INF", "SEEDS", "branches_of", "full_sort_nucleus", "kl", "one_branch"]

NEG_INF = float("-inf")
SEEDS = st.integers(0, 2**32 - 1)


def branches_of(
    seed: int, *, batch: int = 3, k: int = 2, vocab: int = 50, magnitude: float = 5.0, forbidden: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Random `reference`, `branches` and `weights`; a share `forbidden` of the logits is -inf, never a whole row."""
    generator = torch.Generator().manual_seed(seed)
    f_0 = torch.randn(batch, vocab, generator=generator) * magnitude
    f = f_0.unsqueeze(1) + torch.randn(batch, k, vocab, generator=generator) * magnitude
    for logits in (f_0, f):
        # Token 0 stays possible everywhere.
        logits[..., 1:][torch.rand(logits[..., 1:].shape, generator=generator) < forbidden] = NEG_INF
    return f_0, f, torch.rand(batch, k, generator=generator) * 2


def one_branch(seed: int, **shape: float) -> tuple[Tensor, Tensor, Tensor]:
    f_0, f, _ = branches_of(seed, k=1, **shape)
    return f_0, f, torch.ones(len(f_0), 1)


def kl(f_0: Tensor, f: Tensor, weights: Tensor, s: float | Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """KL(pi_s || pi_0) in float64, written down apart from the library's."""
    s = torch.as_tensor(s, dtype=torch.float64).expand(len(f_0)).unsqueeze(1)
    t = torch.as_tensor(temperature, dtype=torch.float64).expand(len(f_0)).unsqueeze(1)
    g = (weights.double().unsqueeze(-1) * (f.double() - f_0.double().unsqueeze(1))).sum(1)
    log_pi, log_pi_0 = log_softmax((f_0.double() + s * g) / t, -1), log_softmax(f_0.double() / t, -1)
    return (log_pi.exp() * (log_pi - log_pi_0)).sum(-1)


def full_sort_nucleus(logits: Tensor, p: float, temperature: float) -> Tensor:
    """The definition: sort everything, drop a token if the mass before it is >= p, keep the first."""
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    order = probabilities.sort(dim=-1, descending=True, stable=True)
    mass = order.values.cumsum(-1)
    before = torch.cat([torch.zeros_like(mass[:, :1]), mass[:, :-1]], dim=-1)
    kept = before < p
    kept[:, 0] = True
    return torch.zeros_like(kept).scatter(-1, order.indices, kept)
