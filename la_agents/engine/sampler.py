"""Sampler: logits of all rows in, one token a sequence out; alignment and choice vectorised over the batch."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import torch
from torch import Tensor

from la_agents import alignment
from la_agents.engine.sequence import Sequence, TokenRecord

__all__ = ["Sampler"]

_GREEDY_MASK_TEMPERATURE = 0.5
"""T_m under greedy decoding, where the authors' scripts sample at this temperature."""


@dataclass(frozen=True)
class _Batch:
    """Which rows belong together, and every sequence's settings, as tensors; valid until the batch changes.

    S sequences, of which A are aligned, with at most K branches; absent branches point at the reference with weight 0.
    """

    reference: Tensor  # [S]
    aligned: Tensor  # [A], places among the S
    branches: Tensor  # [A, K]
    weights: Tensor  # [A, K]
    cap: Tensor  # [A], 1 + strength
    budget: Tensor  # [A], inf for none
    support_p: Tensor  # [A]
    mask_temperature: Tensor  # [A]
    temperature: Tensor  # [S], 1 where greedy
    top_p: Tensor  # [S]
    greedy: Tensor  # [S]
    any_budget: bool
    all_greedy: bool


class Sampler:
    """Chooses each sequence's next token; remembers the tensors that describe the batch while it stays the same."""

    def __init__(self) -> None:
        self._members: list[tuple[Sequence, tuple[int, ...]]] = []
        self._batch: _Batch | None = None

    def sample(self, logits: Tensor, rows: SequenceOf[tuple[Sequence, SequenceOf[int]]]) -> list[TokenRecord]:
        """One record a sequence, in order.

        Args:
            logits: [rows, vocab], float32.
            rows: For each sequence, where its rows are: the reference first, then its branches.
        """
        members = [(sequence, tuple(numbers)) for sequence, numbers in rows]
        if self._batch is None or members != self._members or self._batch.reference.device != logits.device:
            self._batch, self._members = _describe(members, logits.device), members
        batch = self._batch
        reference = logits[batch.reference]
        final = reference
        divergence = scale = torch.zeros(len(members), device=logits.device)
        branches = None
        if batch.aligned.numel():
            f_0, branches = reference[batch.aligned], logits[batch.branches]
            f_s, s, kl = _align(f_0, branches, batch)
            final = reference.index_copy(0, batch.aligned, f_s)
            divergence = divergence.index_copy(0, batch.aligned, kl)
            scale = scale.index_copy(0, batch.aligned, s)
        tokens, unmoved = _choose(final, reference, batch, members)
        shares = logits.new_zeros((len(members), 0))
        if branches is not None:
            of_aligned = _shares(f_0, branches, batch, s, tokens[batch.aligned])
            shares = logits.new_zeros((len(members), of_aligned.shape[1])).index_copy(0, batch.aligned, of_aligned)
            # A sequence whose logits are not finite shows it as a divergence of nan: 0 * inf and 0 * nan are nan.
            divergence = divergence.index_add(0, batch.aligned, 0 * branches.amax(dim=(1, 2)))
        divergence = divergence + 0 * (reference.amax(dim=-1) + final.amax(dim=-1))
        # One transfer to the host a step; float64 holds token ids exactly.
        columns = [tokens, unmoved, divergence, scale]
        table = torch.cat([torch.stack([c.double() for c in columns], dim=1), shares.double()], dim=1).tolist()
        return [
            TokenRecord(int(token), int(own), kl, s, tuple(rest[: sequence.num_rows - 1]))
            for (sequence, _), (token, own, kl, s, *rest) in zip(members, table, strict=True)
        ]


def _describe(members: SequenceOf[tuple[Sequence, tuple[int, ...]]], device: torch.device) -> _Batch:
    aligned = [(i, s, rows) for i, (s, rows) in enumerate(members) if len(rows) > 1]
    k = max((len(rows) - 1 for _, _, rows in aligned), default=0)
    samplings = [s.request.sampling for s, _ in members]
    alignments = [s.request.alignment for _, s, _ in aligned]

    def floats(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)

    def integers(values: list[int] | list[list[int]]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=device)

    budgets = [float("inf") if a.max_divergence is None else a.max_divergence for a in alignments]
    return _Batch(
        reference=integers([rows[0] for _, rows in members]),
        aligned=integers([i for i, _, _ in aligned]),
        branches=integers([[*rows[1:], *[rows[0]] * (k + 1 - len(rows))] for _, _, rows in aligned]),
        weights=torch.tensor(
            [[*s.request.weights, *[0.0] * (k - len(s.request.weights))] for _, s, _ in aligned],
            dtype=torch.float32,
            device=device,
        ),
        cap=floats([1.0 + a.strength for a in alignments]),
        budget=floats(budgets),
        support_p=floats([a.principle_top_p for a in alignments]),
        mask_temperature=floats([_mask_temperature(s) for _, s, _ in aligned]),
        temperature=floats([s.temperature or 1.0 for s in samplings]),
        top_p=floats([s.top_p for s in samplings]),
        greedy=torch.tensor([s.temperature == 0 for s in samplings], device=device),
        any_budget=any(b < float("inf") for b in budgets),
        all_greedy=all(s.temperature == 0 for s in samplings),
    )


def _mask_temperature(sequence: Sequence) -> float:
    explicit = sequence.request.alignment.mask_temperature
    if explicit is not None:
        return explicit
    return sequence.request.sampling.temperature or _GREEDY_MASK_TEMPERATURE


def _align(f_0: Tensor, branches: Tensor, batch: _Batch) -> tuple[Tensor, Tensor, Tensor]:
    """f(s) inside the support [A, vocab], s [A] and the divergence of pi_s before masking [A]."""
    temperature = batch.temperature[batch.aligned]
    s = batch.cap
    if batch.any_budget:
        s = alignment.divergence_scale(f_0, branches, batch.weights, batch.cap, batch.budget, temperature).float()
    f_s = alignment.line(f_0, branches, batch.weights, s)
    kl = alignment.divergence(f_s, f_0, temperature)
    allowed = alignment.support(f_0, branches, batch.weights, batch.support_p, batch.mask_temperature)
    return f_s.masked_fill(~allowed, float("-inf")), s, kl


def _choose(
    final: Tensor, reference: Tensor, batch: _Batch, members: SequenceOf[tuple[Sequence, tuple[int, ...]]]
) -> tuple[Tensor, Tensor]:
    """The chosen tokens [S], and what the reference alone would have chosen with the same randomness [S]."""
    tokens, unmoved = final.argmax(dim=-1), reference.argmax(dim=-1)
    if batch.all_greedy:
        return tokens, unmoved
    draws = torch.tensor([(s.next_uniform(), s.next_uniform()) for s, _ in members], dtype=torch.float64)
    first, second = draws.to(final.device).unbind(dim=1)
    pi, pi_0 = _sampled_from(final, batch), _sampled_from(reference, batch)
    drawn = _draw(pi, first)
    # Maximal coupling: the reference draws the same token wherever it can, so that the expected number of changed
    # tokens is the total variation between the two policies and not the noise of two independent draws.
    ratio = _at(pi_0, drawn).double() / _at(pi, drawn)
    # Where it cannot, what is left of `second` is a fresh uniform for the rest of its policy; `first` would not be.
    rest = (second - ratio) / (1 - ratio).clamp_min(1e-300)
    other = torch.where(second <= ratio, drawn, _draw((pi_0 - pi).clamp_min(0), rest))
    return torch.where(batch.greedy, tokens, drawn), torch.where(batch.greedy, unmoved, other)


def _sampled_from(logits: Tensor, batch: _Batch) -> Tensor:
    """softmax(f / T) inside its top-p nucleus, [S, vocab]."""
    allowed = alignment.nucleus(logits, batch.top_p, batch.temperature)
    return alignment.policy(logits.masked_fill(~allowed, float("-inf")), batch.temperature).exp()


def _draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Inverse-CDF draw in order of token id, from weights that need not sum to 1; one uniform a sequence."""
    mass = probabilities.cumsum(dim=-1, dtype=torch.float64)
    target = (uniform * mass[:, -1]).unsqueeze(-1)
    # The first token whose mass passes the target has mass of its own; rounding must not leave the vocabulary.
    return torch.searchsorted(mass, target, right=True).squeeze(-1).clamp_max(probabilities.shape[-1] - 1)


def _at(probabilities: Tensor, tokens: Tensor) -> Tensor:
    return probabilities.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def _shares(f_0: Tensor, branches: Tensor, batch: _Batch, s: Tensor, tokens: Tensor) -> Tensor:
    """`s w_i (g_i[token] - E_pi_0[g_i]) / T`, [A, K]: first-order change of the token's log-probability by branch i.

    Centring under the reference makes it independent of a constant added to a branch's logits, and additive.
    """
    temperature = batch.temperature[batch.aligned]
    pi_0 = alignment.policy(f_0, temperature).exp().unsqueeze(1)
    g = branches - f_0.unsqueeze(1)
    g = torch.where(torch.isfinite(g), g, 0.0)
    at_token = g.gather(-1, tokens[:, None, None].expand(-1, g.shape[1], 1)).squeeze(-1)
    return (s / temperature).unsqueeze(-1) * batch.weights * (at_token - (pi_0 * g).sum(dim=-1))
