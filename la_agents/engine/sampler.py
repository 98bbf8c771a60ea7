"""Sampler: logits of all rows in, one token a sequence out; alignment and choice vectorised over the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import torch
from torch import Tensor

from la_agents import alignment
from la_agents.engine.candidates import candidates
from la_agents.engine.masks import Masks, grammar_masks
from la_agents.engine.sequence import Fluency, Sequence
from la_agents.requests import TokenRecord

__all__ = ["Sampler"]

_GREEDY_MASK_TEMPERATURE = 0.5
"""T_m under greedy decoding, where the authors' scripts sample at this temperature."""


_IMPOSSIBLE = -1e9
"""The logit of what a grammar forbids, while policies are compared: finite, and no probability in float32."""

_SEQUENCES_IN_CACHE = 4

_Member = tuple[Sequence, tuple[int, ...]]


@dataclass(frozen=True)
class _Batch:
    """Which rows belong together, and every sequence's settings, as tensors; valid until the batch changes.

    S sequences, of which A are aligned, with at most K branches; absent branches point at the reference with weight 0.
    """

    members: list[_Member]
    rows: Tensor  # [R], all rows of the S sequences
    owners: Tensor  # [R], which of the S each belongs to
    reference: Tensor  # [S]
    aligned: Tensor  # [A], places among the S
    branches: Tensor  # [A, K]
    weights: Tensor  # [A, K]
    cap: Tensor  # [A], the s aimed at
    taper: Tensor  # [A], kappa
    adaptive: Tensor  # [A], whether the push follows each step's conflict
    budget: Tensor  # [A], inf for none
    log_plausibility: Tensor  # [A], -inf for none
    fluencies: list[Fluency | None]  # of the A
    masked: Tensor  # [M], places among the A of those whose support is a nucleus
    support_p: Tensor  # [M]
    mask_temperature: Tensor  # [M]
    temperature: Tensor  # [S], 1 where greedy
    top_p: Tensor  # [S]
    greedy: Tensor  # [S]
    explained: list[int]  # places among the S of those whose candidates are listed
    any_budget: bool
    any_plausible: bool
    any_fluency: bool
    single: bool  # whether each has one branch of weight 1, which then is f(1)
    any_top_p: bool
    all_greedy: bool


class Sampler:
    """Chooses each sequence's next token; remembers the tensors that describe the batch while it stays the same."""

    def __init__(self) -> None:
        self._members: list[_Member] = []
        self._batches: list[_Batch] = []

    def sample(self, logits: Tensor, rows: SequenceOf[tuple[Sequence, SequenceOf[int]]]) -> list[TokenRecord]:
        """One record a sequence, in order.

        Args:
            logits: [rows, vocab], float32.
            rows: For each sequence, where its rows are: the reference first, then its branches.
        """
        members = [(sequence, tuple(numbers)) for sequence, numbers in rows]
        if members != self._members:
            # On a CPU a few sequences at a time: what lies between two operations then stays in the processor's cache.
            size = len(members) if logits.is_cuda else _SEQUENCES_IN_CACHE
            parts = [members[i : i + size] for i in range(0, len(members), size)]
            self._batches = [_describe(part, logits.device) for part in parts]
            self._members = members
        peaks = logits.amax(dim=-1)
        masks = grammar_masks([batch.members for batch in self._batches], logits)
        return [record for b, m in zip(self._batches, masks, strict=True) for record in _sample(logits, peaks, b, m)]


def _sample(logits: Tensor, peaks: Tensor, batch: _Batch, masks: Masks | None) -> list[TokenRecord]:
    members = batch.members
    reference = logits.index_select(0, batch.reference)
    allowed = reference
    if masks is not None:
        allowed = reference.masked_fill(masks.forbidden, float("-inf"))
    if batch.aligned.numel():
        branches = logits.index_select(0, batch.branches.flatten()).view(*batch.branches.shape, -1)
        step = _align(reference.index_select(0, batch.aligned), branches, batch, masks)
        final = allowed.index_copy(0, batch.aligned, step.final)
        tokens, reference_tokens = _choose(final, allowed, batch)
        facts = step.facts(tokens.index_select(0, batch.aligned), batch)
        facts = logits.new_zeros((len(members), facts.shape[1])).index_copy(0, batch.aligned, facts)
    else:
        final = allowed
        tokens, reference_tokens = _choose(final, allowed, batch)
        facts = logits.new_zeros((len(members), 3))
    # A sequence whose logits are not finite shows it as a divergence of nan: 0 * inf and 0 * nan are nan.
    finite = torch.zeros_like(facts[:, 0]).index_add(0, batch.owners, 0 * peaks.index_select(0, batch.rows))
    # One transfer to the host; float64 holds token ids exactly.
    table = torch.cat([torch.stack([tokens, reference_tokens, finite], dim=1).double(), facts.double()], dim=1).tolist()
    listed = candidates(final, allowed, batch.temperature, tokens, batch.explained)
    records = []
    for i, ((sequence, _), (token, own, nan, kl, s, cost, *rest)) in enumerate(zip(members, table, strict=True)):
        if sequence.fluency is not None and math.isfinite(cost):
            sequence.fluency.spend(cost)
        contributions = tuple(rest[: sequence.num_rows - 1])
        records.append(TokenRecord(int(token), int(own), kl + nan, s, contributions, listed.get(i, ())))
    return records


def _describe(members: SequenceOf[_Member], device: torch.device) -> _Batch:
    aligned = [(i, s, rows) for i, (s, rows) in enumerate(members) if len(rows) > 1]
    k = max((len(rows) - 1 for _, _, rows in aligned), default=0)
    samplings = [s.request.sampling for s, _ in members]
    alignments = [s.request.alignment for _, s, _ in aligned]

    def floats(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)

    def integers(values: list[int] | list[list[int]]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=device)

    masked = [i for i, a in enumerate(alignments) if a.support_p < 1]
    budgets = [float("inf") if a.max_divergence is None else a.max_divergence for a in alignments]
    return _Batch(
        members=list(members),
        rows=integers([row for _, rows in members for row in rows]),
        owners=integers([i for i, (_, rows) in enumerate(members) for _ in rows]),
        reference=integers([rows[0] for _, rows in members]),
        aligned=integers([i for i, _, _ in aligned]),
        branches=integers([[*rows[1:], *[rows[0]] * (k + 1 - len(rows))] for _, _, rows in aligned]),
        weights=torch.tensor(
            [[*s.request.weights, *[0.0] * (k - len(s.request.weights))] for _, s, _ in aligned],
            dtype=torch.float32,
            device=device,
        ),
        cap=floats([a.scale for a in alignments]),
        taper=floats([a.kappa for a in alignments]),
        adaptive=torch.tensor([a.chosen_push == "adaptive" for a in alignments], dtype=torch.bool, device=device),
        budget=floats(budgets),
        log_plausibility=floats([a.log_plausibility for a in alignments]),
        fluencies=[s.fluency for _, s, _ in aligned],
        masked=integers(masked),
        support_p=floats([alignments[i].support_p for i in masked]),
        mask_temperature=floats([_mask_temperature(aligned[i][1]) for i in masked]),
        temperature=floats([s.temperature or 1.0 for s in samplings]),
        top_p=floats([s.top_p for s in samplings]),
        greedy=torch.tensor([s.temperature == 0 for s in samplings], device=device),
        explained=[i for i, (s, _) in enumerate(members) if s.request.list_candidates],
        any_budget=any(b < float("inf") for b in budgets),
        any_plausible=any(a.log_plausibility > -math.inf for a in alignments),
        any_fluency=any(s.fluency is not None for _, s, _ in aligned),
        single=all(s.request.weights == (1.0,) for _, s, _ in aligned),
        any_top_p=any(s.top_p < 1 for s in samplings),
        all_greedy=all(s.temperature == 0 for s in samplings),
    )


def _mask_temperature(sequence: Sequence) -> float:
    explicit = sequence.request.alignment.mask_temperature
    if explicit is not None:
        return explicit
    return sequence.request.sampling.temperature or _GREEDY_MASK_TEMPERATURE


@dataclass(frozen=True)
class _Aligned:
    """One aligned step of A sequences."""

    f_0: Tensor  # [A, vocab]
    f_1: Tensor  # [A, vocab]
    branches: Tensor  # [A, K, vocab]
    final: Tensor  # [A, vocab], what is decoded, -inf outside the support
    fraction: Tensor  # [A], the part of the way that the budget allows
    gamma: Tensor  # [A], of this step

    def facts(self, tokens: Tensor, batch: _Batch) -> Tensor:
        """For each sequence the divergence of what was decoded, the token's scale, cost and contributions: [A, 3 + K].

        Args:
            tokens: The chosen ones, [A].
        """
        temperature = batch.temperature[batch.aligned]
        log_pi_0 = alignment.policy(self.f_0, temperature)
        divergence = alignment.relative_entropy(alignment.policy(self.final, temperature), log_pi_0)
        scale = self.fraction * alignment.reach(self.f_1, tokens, self.gamma, batch.taper)
        cost = torch.zeros_like(scale)
        if batch.any_fluency:
            cost = alignment.cost(self.f_1, tokens, temperature, batch.greedy[batch.aligned])
        columns = torch.stack([divergence, scale, cost], dim=1)
        shares = alignment.contributions(self.f_0, self.branches, batch.weights, tokens, scale, temperature, log_pi_0)
        return torch.cat([columns, shares], dim=1)


def _align(f_0: Tensor, branches: Tensor, batch: _Batch, masks: Masks | None) -> _Aligned:
    cap, log_plausibility, forbidden = batch.cap, batch.log_plausibility, None
    if masks is not None:
        # First the grammar: support, push and budget are about the policies of what it allows.
        forbidden = masks.forbidden.index_select(0, batch.aligned)
        f_0 = f_0.masked_fill(forbidden, _IMPOSSIBLE)
        branches = branches.masked_fill(forbidden.unsqueeze(1), _IMPOSSIBLE)
        cap = cap.masked_fill(masks.unaligned, 0.0)
    f_1 = branches[:, 0] if batch.single else alignment.line(f_0, branches, batch.weights, 1.0)
    if masks is not None:  # where nothing is aligned, the principles say what the reference says
        f_1 = torch.where(masks.unaligned.unsqueeze(1), f_0, f_1)
    z, gamma = alignment.pushed(f_0, branches, batch.weights, cap, batch.taper, adaptive=batch.adaptive)
    if batch.any_fluency:
        left = [math.inf if fluency is None else fluency.left for fluency in batch.fluencies]
        log_plausibility = torch.maximum(log_plausibility, -torch.tensor(left, device=f_0.device))
    allowed = _support(f_1, log_plausibility, batch)
    if masks is not None and forbidden is not None:
        allowed = (allowed | masks.unaligned.unsqueeze(1)) & ~forbidden
    if batch.any_budget:
        fraction, final = alignment.within_budget(f_0, z, allowed, batch.budget, batch.temperature[batch.aligned])
        final = final if forbidden is None else final.masked_fill(forbidden, float("-inf"))
    else:
        fraction, final = torch.ones_like(gamma), z.masked_fill(~allowed, float("-inf"))
    return _Aligned(f_0, f_1, branches, final, fraction, gamma)


def _support(f_1: Tensor, log_plausibility: Tensor, batch: _Batch) -> Tensor:
    """Which tokens may be chosen, [A, vocab], bool, never none."""
    if batch.any_plausible or batch.any_fluency:
        allowed = alignment.plausible(f_1, log_plausibility)
    else:
        allowed = torch.ones_like(f_1, dtype=torch.bool)
    if not batch.masked.numel():
        return allowed
    nucleus = alignment.nucleus(f_1.index_select(0, batch.masked), batch.support_p, batch.mask_temperature)
    return allowed.index_copy(0, batch.masked, allowed.index_select(0, batch.masked) & nucleus)


def _choose(final: Tensor, reference: Tensor, batch: _Batch) -> tuple[Tensor, Tensor]:
    """The chosen tokens [S], and what the reference alone would have chosen with the same randomness [S]."""
    tokens = alignment.likeliest(final)
    reference_tokens = tokens if final is reference else alignment.likeliest(reference)
    if batch.all_greedy:
        return tokens, reference_tokens
    draws = torch.tensor([(s.next_uniform(), s.next_uniform()) for s, _ in batch.members], dtype=torch.float64)
    first, second = draws.to(final.device).unbind(dim=1)
    top_p = batch.top_p if batch.any_top_p else None
    pi = alignment.sampled_from(final, top_p, batch.temperature)
    if final is reference:
        tokens = torch.where(batch.greedy, tokens, alignment.draw(pi, first))
        return tokens, tokens
    drawn, other = alignment.coupled(pi, alignment.sampled_from(reference, top_p, batch.temperature), first, second)
    return torch.where(batch.greedy, tokens, drawn), torch.where(batch.greedy, reference_tokens, other)
