"""Support: which tokens may be chosen at all.

Two rules, both of f(1), what the principles alone make of the model: a token that they find implausible is never
chosen, however far it is pushed.

    nucleus     the top-p nucleus of softmax(f(1) / T_m): the authors' code of Linear Alignment
    plausible   p_1 >= alpha max p_1: contrastive decoding (Li et al., ACL 2023, arXiv 2210.15097)
"""

from __future__ import annotations

import torch
from torch import Tensor

from la_agents.alignment.kernel import kernel
from la_agents.alignment.line import certainly, column, distribution, may_look, per_row, prompted, tempered

__all__ = ["nucleus", "nucleus_head", "plausible", "plausible_head", "support"]

_FIRST_TOP_K = 64
BLOCK = 64
"""Tokens that are looked at together: on a CPU a maximum or a sum costs a tenth of an argmax, a top-k or a cumsum."""


def nucleus(logits: Tensor, p: float | Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """The top-p nucleus of `softmax(f / T)` as a mask, shape [batch, vocab], bool; never empty.

    In descending order a token is dropped if the mass before it is >= p, so the token that crosses p stays; equal
    probabilities rank by token id. p >= 1 keeps all that is possible.
    """
    if certainly(lambda: (per_row(p, logits) >= 1).all(), logits):
        return torch.isfinite(logits)
    if may_look(logits):
        tokens, kept = nucleus_head(logits, p, temperature)
        inside = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, tokens, kept)
    else:
        inside = _above_threshold(distribution(logits, temperature)[1], per_row(p, logits))
    return torch.where(per_row(p, logits).unsqueeze(-1) >= 1, torch.isfinite(logits), inside)


def nucleus_head(logits: Tensor, p: float | Tensor, temperature: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
    """The nucleus as token ids in descending order and which of them are in it, each [batch, k].

    Exactly the set that sorting the vocabulary gives. A full sort would cost more than everything else of a step, so on
    a CPU only a head that covers p is sorted; where equal probabilities straddle its edge, the sort decides after all.
    """
    pi = torch.softmax(tempered(logits, temperature), dim=-1)
    p_ = per_row(p, logits).unsqueeze(-1)
    k = _FIRST_TOP_K if may_look(pi) else pi.shape[-1]
    while k < pi.shape[-1]:
        head, tokens = _largest(pi, k)
        kept = _kept(head, p_)
        cut = kept[:, :-1] & ~kept[:, 1:] & (head[:, :-1] == head[:, 1:])
        if not bool(kept[:, -1].any() | cut.any()):
            return tokens, kept
        k = pi.shape[-1] if bool(cut.any()) else 8 * k
    head, tokens = pi.sort(dim=-1, descending=True, stable=True)
    return tokens, torch.where(p_ >= 1, torch.isfinite(logits.gather(-1, tokens)), _kept(head, p_))


def _above_threshold(pi: Tensor, p: Tensor) -> Tensor:
    """The nucleus of probabilities pi as a mask, without sorting them and without looking.

    The nucleus is all above a threshold, and of those equal to it the first by id that are still needed. The threshold
    is found among the numbers that float32 has, three of their bits at a time: positive ones are ordered as their bits.
    """
    p = p.unsqueeze(-1)
    low = torch.zeros(len(pi), 1, dtype=torch.int32, device=pi.device)  # the mass above it is >= p, or it is 0
    for bit in range(27, -1, -3):  # 30 bits are those of the numbers up to 1
        low = _narrowed(pi, p, low, torch.full_like(low, 1 << bit))
    needed, counts = _equals(pi, p, low)
    last = first_beyond(in_blocks((pi.view(torch.int32) == low).float()), counts.cumsum(dim=-1), needed - 0.5)
    return _cut(pi, low, last)


@kernel
def _narrowed(pi: Tensor, p: Tensor, low: Tensor, step: Tensor) -> Tensor:
    """The last of `low`, `low + step` ... `low + 7 step` above which the mass is >= p, [batch, 1] each."""
    bits = pi.view(torch.int32)
    masses = [torch.where(bits >= low + i * step, pi, 0.0).sum(dim=-1, keepdim=True) for i in range(1, 8)]
    return low + step * (torch.cat(masses, dim=-1) >= p).sum(dim=-1, keepdim=True).int()


@kernel
def _equals(pi: Tensor, p: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    """How many of those that equal the threshold are needed, [batch], and how many there are in each block."""
    bits, threshold = pi.view(torch.int32), low.view(torch.float32)
    above = torch.where(bits > low, pi, 0.0).sum(dim=-1, keepdim=True)
    needed = ((p - above) / threshold).ceil().clamp_min(1.0)
    return needed[:, 0].double(), in_blocks((bits == low).float()).sum(dim=-1).double()


@kernel
def _cut(pi: Tensor, low: Tensor, last: Tensor) -> Tensor:
    """What is above the threshold whose bits `low` is, and of its equals those up to the token `last`."""
    bits = pi.view(torch.int32)
    tokens = torch.arange(pi.shape[-1], device=pi.device)
    return (bits > low) | ((bits == low) & (tokens <= last.unsqueeze(-1)) & (pi > 0))


def in_blocks(values: Tensor) -> Tensor:
    """`values [batch, vocab]` as [batch, blocks, size]; blocks of one where the vocabulary is no multiple of 64."""
    return values.view(len(values), -1, BLOCK if values.shape[-1] % BLOCK == 0 else 1)


def first_beyond(blocks: Tensor, mass: Tensor, target: Tensor) -> Tensor:
    """The first token at which the cumulative mass passes the target, [batch].

    In two steps, which block of tokens and which of them, so that one block is summed up token by token.

    Args:
        blocks: [batch, blocks, size].
        mass: Cumulative, up to the end of each block, float64 [batch, blocks].
        target: float64 [batch].
    """
    block, rest = _invert(mass, target)
    token, _ = _invert(row_of(blocks, block).cumsum(dim=-1, dtype=torch.float64), rest)
    return block * blocks.shape[-1] + token


def _invert(mass: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The first place whose cumulative mass passes the target, and how far into it the target lies."""
    # What passes the target has mass of its own; rounding, or a sum that is nan, must not lead beyond the end.
    at = torch.searchsorted(mass, target.unsqueeze(-1), right=True).clamp_max(mass.shape[-1] - 1)
    before = torch.where(at > 0, mass.gather(-1, (at - 1).clamp_min(0)), 0.0)
    return at.squeeze(-1), target - before.squeeze(-1)


def row_of(blocks: Tensor, which: Tensor) -> Tensor:
    """`blocks[i, which[i]]`, [batch, size]."""
    return blocks[torch.arange(len(blocks), device=blocks.device), which]


@kernel
def plausible(logits: Tensor, log_alpha: float | Tensor) -> Tensor:
    """`V = {p_1 >= alpha max p_1}` as a mask, shape [batch, vocab], bool; its likeliest token is always in it.

    Args:
        logits: f(1) [batch, vocab].
        log_alpha: `log alpha <= 0`; -inf keeps all that is possible.
    """
    return logits >= _floor(logits, log_alpha)


def plausible_head(logits: Tensor, log_alpha: float | Tensor) -> tuple[Tensor, Tensor]:
    """Token ids that hold `plausible`, and which of them are in it, each [batch, n]; for a CPU, where n is looked for.

    They are whole blocks: those whose maximum is plausible, and as many in each row as in the one that has most.
    """
    blocks = in_blocks(logits)
    peaks = blocks.amax(dim=-1)
    floor = _floor(peaks, log_alpha)
    most = int((peaks >= floor).sum(dim=-1).amax())
    which = peaks.topk(max(most, 1), dim=-1, sorted=False).indices.unsqueeze(-1)  # nan is nowhere plausible
    size = blocks.shape[-1]
    head = blocks.gather(1, which.expand(-1, -1, size)).flatten(1)
    return (which * size + torch.arange(size)).flatten(1), head >= floor


def _floor(logits: Tensor, log_alpha: float | Tensor) -> Tensor:
    """The least logit that is plausible, [batch, 1]."""
    floor = logits.amax(dim=-1, keepdim=True) + column(log_alpha, logits)
    return floor.clamp_min(torch.finfo(torch.float32).min)


def support(
    reference: Tensor, branches: Tensor, weights: Tensor, p: float | Tensor, mask_temperature: float | Tensor
) -> Tensor:
    """The support of Linear Alignment: the nucleus of `softmax(f(1) / T_m)`, shape [batch, vocab], bool."""
    return nucleus(prompted(reference, branches, weights), p, mask_temperature)


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
