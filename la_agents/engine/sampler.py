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
        cost = self._cost(tokens, batch) if batch.any_fluency else torch.zeros_like(scale)
        columns = torch.stack([divergence, scale, cost], dim=1)
        return torch.cat([columns, self._contributions(tokens, log_pi_0, scale, batch)], dim=1)

    def _contributions(self, tokens: Tensor, log_pi_0: Tensor, scale: Tensor, batch: _Batch) -> Tensor:
        """`s w_i (g_i[token] - E_pi_0[g_i]) / T`, [A, K]: first-order change of log pi(token) by branch i.

        Centring under the reference makes it independent of a constant added to a branch's logits, and additive.
        """
        pi_0 = alignment.probabilities(log_pi_0).unsqueeze(1)
        g = self.branches - self.f_0.unsqueeze(1)
        mean = (g * pi_0).sum(dim=-1)
        at_token = g.gather(-1, tokens[:, None, None].expand(-1, g.shape[1], 1)).squeeze(-1)
        factor = (scale / batch.temperature[batch.aligned]).unsqueeze(-1) * batch.weights
        return factor * torch.where(torch.isfinite(at_token - mean), at_token - mean, 0.0)

    def _cost(self, tokens: Tensor, batch: _Batch) -> Tensor:
        """What each token costs of its answer's fluency, [A]; see `Fluency`."""
        log_p_1 = alignment.policy(self.f_1, batch.temperature[batch.aligned])
        average = (alignment.probabilities(log_p_1) * log_p_1.clamp_min(_IMPOSSIBLE)).sum(dim=-1)
        own = torch.where(batch.greedy[batch.aligned], log_p_1.amax(dim=-1), average)
        return own - log_p_1.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


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
    tokens = _argmax(final)
    reference_tokens = tokens if final is reference else _argmax(reference)
    if batch.all_greedy:
        return tokens, reference_tokens
    draws = torch.tensor([(s.next_uniform(), s.next_uniform()) for s, _ in batch.members], dtype=torch.float64)
    first, second = draws.to(final.device).unbind(dim=1)
    pi = _sampled_from(final, batch)
    drawn = _draw(pi, first)
    if final is reference:
        tokens = torch.where(batch.greedy, tokens, drawn)
        return tokens, tokens
    # Maximal coupling: the reference draws the same token wherever it can, so that the expected number of changed
    # tokens is the total variation between the two policies and not the noise of two independent draws.
    pi_0 = _sampled_from(reference, batch)
    ratio = _at(pi_0, drawn).double() / _at(pi, drawn)
    # Where it cannot, what is left of `second` is a fresh uniform for the rest of its policy; `first` would not be.
    rest = (second - ratio) / (1 - ratio).clamp_min(1e-300)
    other = torch.where(second <= ratio, drawn, _draw((pi_0 - pi).clamp_min(0), rest))
    return torch.where(batch.greedy, tokens, drawn), torch.where(batch.greedy, reference_tokens, other)


def _sampled_from(logits: Tensor, batch: _Batch) -> Tensor:
    """softmax(f / T) inside its top-p nucleus, [S, vocab]."""
    if not batch.any_top_p:
        return alignment.probabilities(alignment.policy(logits, batch.temperature))
    tokens, kept = alignment.nucleus_head(logits, batch.top_p, batch.temperature)
    inside = logits.gather(-1, tokens).masked_fill(~kept, float("-inf"))
    probabilities = alignment.policy(inside, batch.temperature).exp_()
    return torch.zeros_like(logits).scatter_(-1, tokens, probabilities)


def _draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Inverse-CDF draw in order of token id, from weights that need not sum to 1; one uniform a sequence.

    In two steps, which block of tokens and which of them, so that one block is summed up token by token.
    """
    size = alignment.BLOCK if probabilities.shape[-1] % alignment.BLOCK == 0 else 1
    blocks = probabilities.view(len(probabilities), -1, size)
    mass = blocks.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    block, rest = _invert(mass, uniform * mass[:, -1])
    inner = _row(blocks, block).cumsum(dim=-1, dtype=torch.float64)
    token, _ = _invert(inner, rest)
    return block * size + token


def _invert(mass: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The first place whose cumulative mass passes the target, and how far into it the target lies."""
    # What passes the target has mass of its own; rounding, or a sum that is nan, must not lead beyond the end.
    at = torch.searchsorted(mass, target.unsqueeze(-1), right=True).clamp_max(mass.shape[-1] - 1)
    before = torch.where(at > 0, mass.gather(-1, (at - 1).clamp_min(0)), 0.0)
    return at.squeeze(-1), target - before.squeeze(-1)


def _argmax(values: Tensor) -> Tensor:
    """`argmax(dim=-1)`, the first of equals, in a fraction of its time."""
    if values.shape[-1] % alignment.BLOCK:
        return values.argmax(dim=-1)
    blocks = values.view(len(values), -1, alignment.BLOCK)
    block = blocks.amax(dim=-1).argmax(dim=-1)
    return block * alignment.BLOCK + _row(blocks, block).argmax(dim=-1)


def _row(blocks: Tensor, which: Tensor) -> Tensor:
    """`blocks[i, which[i]]`, [S, size]."""
    return blocks[torch.arange(len(blocks), device=blocks.device), which]


def _at(probabilities: Tensor, tokens: Tensor) -> Tensor:
    return probabilities.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
