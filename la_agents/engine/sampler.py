"""Sampler: logits of all rows in, one token a sequence out; alignment and choice vectorised over the batch."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from la_agents import alignment
from la_agents.engine.candidates import candidates
from la_agents.engine.masks import Masks, grammar_masks
from la_agents.engine.sequence import Sequence
from la_agents.engine.static_decoder import GraphCapture
from la_agents.requests import TokenRecord

__all__ = ["Sampler"]

_GREEDY_MASK_TEMPERATURE = 0.5
"""T_m under greedy decoding, where the authors' scripts sample at this temperature."""


_IMPOSSIBLE = -1e9
"""The logit of what a grammar forbids, while policies are compared: finite, and no probability in float32."""

_SEQUENCES_IN_CACHE = 4
_MAX_GRAPHS = 64

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
    masked: Tensor  # [M], places among the A of those whose support is a nucleus
    greedy: Tensor  # [S]
    # One number where it is the same for all, which needs no look at a GPU, else a tensor.
    temperature: float | Tensor  # [S], 1 where greedy
    aligned_temperature: float | Tensor  # [A]
    cap: float | Tensor  # [A], the s aimed at
    taper: float | Tensor  # [A], kappa
    adaptive: bool | Tensor  # [A], whether the push follows each step's conflict
    budget: float | Tensor  # [A], inf for none
    log_plausibility: float | Tensor  # [A], -inf for none
    support_p: float | Tensor  # [M]
    mask_temperature: float | Tensor  # [M]
    top_p: float | Tensor  # [S]
    explained: tuple[int, ...]  # places among the S of those whose candidates are listed
    any_fluency: bool
    single: bool  # whether each has one branch of weight 1, which then is f(1)
    all_aligned: bool
    all_greedy: bool

    @property
    def tensors(self) -> list[Tensor]:
        return [value for field in fields(self) if isinstance(value := getattr(self, field.name), Tensor)]

    @property
    def signature(self) -> tuple[Any, ...]:
        """What is equal for batches that differ in what their tensors hold alone."""
        rest = [getattr(self, field.name) for field in fields(self)[1:]]
        return tuple(tuple(value.shape) if isinstance(value, Tensor) else value for value in rest)

    def inputs(self) -> Tensor | None:
        """What a step draws and what fluency is left, float64 [S, 3]; None if nobody draws or has a bound."""
        if self.all_greedy and not self.any_fluency:
            return None
        rows = []
        for sequence, _ in self.members:
            draws = (0.0, 0.0) if self.all_greedy else (sequence.next_uniform(), sequence.next_uniform())
            rows.append((*draws, math.inf if sequence.fluency is None else sequence.fluency.left))
        return torch.tensor(rows, dtype=torch.float64)


@dataclass(frozen=True)
class _Step:
    """What one step gives, on the device.

    Attributes:
        table: [S, 6 + K], float64, which holds token ids exactly: token, the reference's, nan for numbers that are not
            finite, divergence, scale, cost, contributions.
        final: [S, vocab], what is decoded, -inf outside the support.
        allowed: [S, vocab], the reference's, -inf outside the grammar.
    """

    table: Tensor
    final: Tensor
    allowed: Tensor


class _Graph:
    """A step for one kind of batch as a CUDA graph over logits at one address."""

    def __init__(self, logits: Tensor, batch: _Batch, inputs: Tensor | None, capture: GraphCapture) -> None:
        self._batch = self._holds = batch
        self._inputs = None if inputs is None else inputs.to(logits.device)
        self._replay: Callable[[], _Step] = capture(lambda: _compute(logits, batch, None, self._inputs))

    def run(self, batch: _Batch, inputs: Tensor | None) -> _Step:
        if batch is not self._holds:
            for own, new in zip(self._batch.tensors, batch.tensors, strict=True):
                own.copy_(new)
            self._holds = batch
        if self._inputs is not None and inputs is not None:
            self._inputs.copy_(inputs, non_blocking=True)
        return self._replay()


class Sampler:
    """Chooses each sequence's next token; remembers the tensors that describe the batch while it stays the same."""

    def __init__(self) -> None:
        self._members: list[_Member] = []
        self._batches: list[_Batch] = []
        self._graphs: OrderedDict[tuple[Any, ...], _Graph | None] = OrderedDict()
        self._capture = GraphCapture()

    def sample(self, logits: Tensor, rows: SequenceOf[tuple[Sequence, SequenceOf[int]]]) -> list[TokenRecord]:
        """`start` and `finish`: one record a sequence, in order."""
        return self.finish(self.start(logits, rows))

    def start(
        self, logits: Tensor, rows: SequenceOf[tuple[Sequence, SequenceOf[int]]], *, stays: bool = False
    ) -> list[tuple[_Batch, _Step]]:
        """Choose each sequence's token; on a GPU what is returned may not be there yet.

        Args:
            logits: [rows, vocab], float32.
            rows: For each sequence, where its rows are: the reference first, then its branches.
            stays: Whether logits of the next steps will be at the same address, so that a graph is worth capturing.
        """
        members = [(sequence, tuple(numbers)) for sequence, numbers in rows]
        if members != self._members:
            # On a CPU a few sequences at a time: what lies between two operations then stays in the processor's cache.
            size = len(members) if logits.is_cuda else _SEQUENCES_IN_CACHE
            parts = [members[i : i + size] for i in range(0, len(members), size)]
            self._batches = [_describe(part, logits.device) for part in parts]
            self._members = members
        masks = grammar_masks([batch.members for batch in self._batches], logits)
        return [
            (batch, self._step(logits, batch, mask, stays=stays and logits.is_cuda))
            for batch, mask in zip(self._batches, masks, strict=True)
        ]

    def _step(self, logits: Tensor, batch: _Batch, masks: Masks | None, *, stays: bool) -> _Step:
        inputs = batch.inputs()
        if not stays or masks is not None:
            return _compute(logits, batch, masks, None if inputs is None else inputs.to(logits.device))
        key = (*batch.signature, logits.data_ptr(), len(logits))
        graph = self._graphs.get(key)
        if graph is not None:
            self._graphs.move_to_end(key)
            return graph.run(batch, inputs)
        if key in self._graphs:  # met before: it may be met again
            graph = self._graphs[key] = _Graph(logits, batch, inputs, self._capture)
            return graph.run(batch, inputs)
        self._graphs[key] = None
        while len(self._graphs) > _MAX_GRAPHS:
            self._graphs.popitem(last=False)
        return _compute(logits, batch, None, None if inputs is None else inputs.to(logits.device))

    @staticmethod
    def finish(steps: SequenceOf[tuple[_Batch, _Step]]) -> list[TokenRecord]:
        """The records of what `start` returned, in order of the sequences."""
        return [record for batch, step in steps for record in _records(batch, step)]


def _records(batch: _Batch, step: _Step) -> list[TokenRecord]:
    table = step.table.tolist()  # the one transfer to the host
    tokens = step.table[:, 0].long() if batch.explained else step.table
    listed = candidates(step.final, step.allowed, batch.temperature, tokens, batch.explained)
    records = []
    for i, ((sequence, _), (token, own, nan, kl, s, cost, *rest)) in enumerate(zip(batch.members, table, strict=True)):
        if sequence.fluency is not None and math.isfinite(cost):
            sequence.fluency.spend(cost)
        contributions = tuple(rest[: sequence.num_rows - 1])
        records.append(TokenRecord(int(token), int(own), kl + nan, s, contributions, listed.get(i, ())))
    return records


def _compute(logits: Tensor, batch: _Batch, masks: Masks | None, inputs: Tensor | None) -> _Step:
    """One step; on a GPU it never waits for what it computes."""
    reference = logits.index_select(0, batch.reference)
    allowed = reference
    if masks is not None:
        allowed = reference.masked_fill(masks.forbidden, float("-inf"))
    if batch.aligned.numel():
        branches = logits.index_select(0, batch.branches.flatten()).view(*batch.branches.shape, -1)
        f_0 = reference if batch.all_aligned else reference.index_select(0, batch.aligned)
        step = _align(f_0, branches, batch, masks, inputs)
        final = step.final if batch.all_aligned else allowed.index_copy(0, batch.aligned, step.final)
        tokens, reference_tokens = _choose(final, allowed, batch, inputs)
        facts = step.facts(tokens.index_select(0, batch.aligned), batch)
        facts = logits.new_zeros((len(batch.members), facts.shape[1])).index_copy(0, batch.aligned, facts)
    else:
        final = allowed
        tokens, reference_tokens = _choose(final, allowed, batch, inputs)
        facts = logits.new_zeros((len(batch.members), 3))
    # A sequence whose logits are not finite shows it as a divergence of nan: 0 * inf and 0 * nan are nan.
    peaks = logits.amax(dim=-1).index_select(0, batch.rows)
    finite = torch.zeros_like(facts[:, 0]).index_add(0, batch.owners, 0 * peaks)
    columns = [tokens.double(), reference_tokens.double(), finite.double()]
    table = torch.cat([torch.stack(columns, dim=1), facts.double()], dim=1)
    return _Step(table, final, allowed)


def _describe(members: SequenceOf[_Member], device: torch.device) -> _Batch:
    aligned = [(i, s, rows) for i, (s, rows) in enumerate(members) if len(rows) > 1]
    k = max((len(rows) - 1 for _, _, rows in aligned), default=0)
    samplings = [s.request.sampling for s, _ in members]
    alignments = [s.request.alignment for _, s, _ in aligned]

    def numbers(values: list[float]) -> float | Tensor:
        if len(set(values)) == 1:
            return values[0]
        return torch.tensor(values, dtype=torch.float32, device=device)

    def integers(values: list[int] | list[list[int]]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=device)

    masked = [i for i, a in enumerate(alignments) if a.support_p < 1]
    temperatures = [s.temperature or 1.0 for s in samplings]
    adaptive = [a.chosen_push == "adaptive" for a in alignments]
    weights = [[*s.request.weights, *[0.0] * (k - len(s.request.weights))] for _, s, _ in aligned]
    return _Batch(
        members=list(members),
        rows=integers([row for _, rows in members for row in rows]),
        owners=integers([i for i, (_, rows) in enumerate(members) for _ in rows]),
        reference=integers([rows[0] for _, rows in members]),
        aligned=integers([i for i, _, _ in aligned]),
        branches=integers([[*rows[1:], *[rows[0]] * (k + 1 - len(rows))] for _, _, rows in aligned]),
        weights=torch.tensor(weights, dtype=torch.float32, device=device),
        masked=integers(masked),
        greedy=torch.tensor([s.temperature == 0 for s in samplings], device=device),
        temperature=numbers(temperatures),
        aligned_temperature=numbers([temperatures[i] for i, _, _ in aligned]),
        cap=numbers([a.scale for a in alignments]),
        taper=numbers([a.kappa for a in alignments]),
        adaptive=adaptive[0] if len(set(adaptive)) == 1 else torch.tensor(adaptive, dtype=torch.bool, device=device),
        budget=numbers([math.inf if a.max_divergence is None else a.max_divergence for a in alignments]),
        log_plausibility=numbers([a.log_plausibility for a in alignments]),
        support_p=numbers([alignments[i].support_p for i in masked]),
        mask_temperature=numbers([_mask_temperature(aligned[i][1]) for i in masked]),
        top_p=numbers([s.top_p for s in samplings]),
        explained=tuple(i for i, (s, _) in enumerate(members) if s.request.list_candidates),
        any_fluency=any(s.fluency is not None for _, s, _ in aligned),
        single=all(s.request.weights == (1.0,) for _, s, _ in aligned),
        all_aligned=len(aligned) == len(members),
        all_greedy=all(s.temperature == 0 for s in samplings),
    )


def _all_are(value: float | Tensor, number: float) -> bool:
    return not isinstance(value, Tensor) and value == number


def _mask_temperature(sequence: Sequence) -> float:
    explicit = sequence.request.alignment.mask_temperature
    if explicit is not None:
        return explicit
    return sequence.request.sampling.temperature or _GREEDY_MASK_TEMPERATURE


@dataclass(frozen=True)
class _Aligned:
    """One aligned step of A sequences."""

    f_0: Tensor  # [A, vocab]
    log_pi_0: Tensor  # [A, vocab], its policy
    pi_0: Tensor
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
        temperature = batch.aligned_temperature
        log_pi, pi = alignment.distribution(self.final, temperature)
        divergence = alignment.relative_entropy(log_pi, self.log_pi_0, pi)
        scale = self.fraction * alignment.reach(self.f_1, tokens, self.gamma, batch.taper)
        cost = torch.zeros_like(scale)
        if batch.any_fluency:
            cost = alignment.cost(self.f_1, tokens, temperature, batch.greedy[batch.aligned])
        columns = torch.stack([divergence, scale, cost], dim=1)
        shares = alignment.contributions(
            self.f_0, self.branches, batch.weights, tokens, scale, temperature, self.log_pi_0, self.pi_0
        )
        return torch.cat([columns, shares], dim=1)


def _align(f_0: Tensor, branches: Tensor, batch: _Batch, masks: Masks | None, inputs: Tensor | None) -> _Aligned:
    cap, log_plausibility, forbidden = batch.cap, batch.log_plausibility, None
    if masks is not None:
        # First the grammar: support, push and budget are about the policies of what it allows.
        forbidden = masks.forbidden.index_select(0, batch.aligned)
        f_0 = f_0.masked_fill(forbidden, _IMPOSSIBLE)
        branches = branches.masked_fill(forbidden.unsqueeze(1), _IMPOSSIBLE)
        cap = torch.where(masks.unaligned, 0.0, cap)
    f_1 = branches[:, 0] if batch.single else alignment.line(f_0, branches, batch.weights, 1.0)
    if masks is not None:  # where nothing is aligned, the principles say what the reference says
        f_1 = torch.where(masks.unaligned.unsqueeze(1), f_0, f_1)
    log_pi_0, pi_0 = alignment.distribution(f_0, batch.aligned_temperature)
    z, gamma = alignment.pushed(
        f_0,
        branches,
        batch.weights,
        cap,
        batch.taper,
        adaptive=batch.adaptive,
        log_p_0=log_pi_0 if _all_are(batch.aligned_temperature, 1.0) else None,
    )
    if batch.any_fluency and inputs is not None:
        left = inputs[:, 2].index_select(0, batch.aligned).float()
        log_plausibility = (-left).clamp_min(log_plausibility)
    allowed = _support(f_1, log_plausibility, batch)
    if masks is not None and forbidden is not None:
        allowed = (allowed | masks.unaligned.unsqueeze(1)) & ~forbidden
    if not _all_are(batch.budget, math.inf):
        fraction, final = alignment.within_budget(f_0, z, allowed, batch.budget, batch.aligned_temperature)
        final = final if forbidden is None else final.masked_fill(forbidden, float("-inf"))
    else:
        fraction, final = torch.ones_like(gamma), torch.where(allowed, z, float("-inf"))
    return _Aligned(f_0, log_pi_0, pi_0, f_1, branches, final, fraction, gamma)


def _support(f_1: Tensor, log_plausibility: float | Tensor, batch: _Batch) -> Tensor:
    """Which tokens may be chosen, [A, vocab], bool, never none."""
    if not _all_are(log_plausibility, -math.inf):
        allowed = alignment.plausible(f_1, log_plausibility)
    else:
        allowed = torch.ones_like(f_1, dtype=torch.bool)
    if not batch.masked.numel():
        return allowed
    nucleus = alignment.nucleus(f_1.index_select(0, batch.masked), batch.support_p, batch.mask_temperature)
    return allowed.index_copy(0, batch.masked, allowed.index_select(0, batch.masked) & nucleus)


def _choose(final: Tensor, reference: Tensor, batch: _Batch, inputs: Tensor | None) -> tuple[Tensor, Tensor]:
    """The chosen tokens [S], and what the reference alone would have chosen with the same randomness [S]."""
    tokens = alignment.likeliest(final)
    reference_tokens = tokens if final is reference else alignment.likeliest(reference)
    if batch.all_greedy or inputs is None:
        return tokens, reference_tokens
    first, second = inputs[:, 0], inputs[:, 1]
    top_p = None if _all_are(batch.top_p, 1.0) else batch.top_p
    pi = alignment.sampled_from(final, top_p, batch.temperature)
    if final is reference:
        tokens = torch.where(batch.greedy, tokens, alignment.draw(pi, first))
        return tokens, tokens
    drawn, other = alignment.coupled(pi, alignment.sampled_from(reference, top_p, batch.temperature), first, second)
    return torch.where(batch.greedy, tokens, drawn), torch.where(batch.greedy, reference_tokens, other)
