"""Choice: one token of each policy, and what the reference would have chosen with the same randomness."""

from __future__ import annotations

import torch
from torch import Tensor

from la_agents_vllm.alignment.kernel import kernel
from la_agents_vllm.alignment.line import NEG_INF, may_look, policy, probabilities, tempered
from la_agents_vllm.alignment.support import BLOCK, first_beyond, in_blocks, nucleus, nucleus_head, row_of

__all__ = ["coupled", "draw", "likeliest", "sampled_from"]


@kernel
def likeliest(logits: Tensor) -> Tensor:
    """`argmax(dim=-1)`, the first of equals, in a fraction of its time; [batch]."""
    if not may_look(logits):
        tokens = torch.arange(logits.shape[-1], device=logits.device)
        first = torch.where(logits == logits.amax(dim=-1, keepdim=True), tokens, len(tokens)).amin(dim=-1)
        return first.clamp_max(len(tokens) - 1)  # where logits are nan, none is the likeliest
    if logits.shape[-1] % BLOCK:
        return logits.argmax(dim=-1)
    blocks = logits.view(len(logits), -1, BLOCK)
    block = blocks.amax(dim=-1).argmax(dim=-1)
    return block * BLOCK + row_of(blocks, block).argmax(dim=-1)


def sampled_from(logits: Tensor, top_p: float | Tensor | None, temperature: float | Tensor) -> Tensor:
    """softmax(f / T) inside its top-p nucleus, [batch, vocab]; None for no nucleus."""
    if top_p is None:
        return probabilities(policy(logits, temperature))
    if not may_look(logits):
        return _within(logits, nucleus(logits, top_p, temperature), temperature)
    tokens, kept = nucleus_head(logits, top_p, temperature)
    inside = logits.gather(-1, tokens).masked_fill(~kept, NEG_INF)
    return torch.zeros_like(logits).scatter_(-1, tokens, policy(inside, temperature).exp_())


@kernel
def _within(logits: Tensor, allowed: Tensor, temperature: float | Tensor) -> Tensor:
    return torch.softmax(tempered(logits.masked_fill(~allowed, NEG_INF), temperature), dim=-1)


def draw(pi: Tensor, uniform: Tensor) -> Tensor:
    """Inverse-CDF draw in order of token id, from weights [batch, vocab] that need not sum to 1; [batch].

    Args:
        uniform: One number from [0, 1) a row, float64.
    """
    blocks = in_blocks(pi)
    mass = blocks.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    return first_beyond(blocks, mass, uniform * mass[:, -1])


def coupled(pi: Tensor, pi_0: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """A draw from each of two policies by their maximal coupling, [batch] each.

    The reference draws the same token wherever it can, so that the expected number of changed tokens is the total
    variation between the two policies and not the noise of two independent draws.

    Args:
        first: Uniforms that draw from pi.
        second: Uniforms that decide whether pi_0 takes the same token, and which one otherwise.
    """
    tokens = draw(pi, first)
    ratio = _at(pi_0, tokens).double() / _at(pi, tokens)
    # Where it does not, what is left of `second` is a fresh uniform for the rest of its policy; `first` would not be.
    rest = (second - ratio) / (1 - ratio).clamp_min(1e-300)
    return tokens, torch.where(second <= ratio, tokens, draw((pi_0 - pi).clamp_min(0), rest))


def _at(values: Tensor, tokens: Tensor) -> Tensor:
    return values.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
