"""Batch: which rows belong together and every sequence's settings, as tensors for the sampler."""

from __future__ import annotations

import math
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from la_agents import alignment
from la_agents.engine.masks import Masks
from la_agents.engine.sequence import Sequence

__all__ = ["Batch", "Member", "describe"]

_GREEDY_MASK_TEMPERATURE = 0.5
"""T_m under greedy decoding, where the authors' scripts sample at this temperature."""

Member = tuple[Sequence, tuple[int, ...]]
"""A sequence, and where in the logits its rows are: the reference first, then its branches."""


@dataclass(frozen=True)
class Batch:
    """Valid until a sequence joins or leaves.

    S sequences, of which A are aligned, with at most K branches; absent branches point at the reference with weight 0.
    """

    members: list[Member]
    rows: Tensor  # [S, 1 + K], the reference first
    spacing: tuple[int, int, int] | None  # see `_spacing`; None where the logits are not read at once and in place
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

    def regular(self, logits: Tensor) -> Tensor | None:
        """The rows' logits, [S, 1 + K, vocab], as a view, where they are so regular that there is one."""
        if self.spacing is None:
            return None
        first, sequence, row = (number * logits.stride(0) for number in self.spacing)
        shape, strides = (*self.rows.shape, logits.shape[-1]), (sequence, row, 1)
        return logits.as_strided(shape, strides, logits.storage_offset() + first)

    def align(self, logits: Tensor, reference: Tensor, masks: Masks | None, inputs: Tensor | None) -> alignment.Step:
        """One step of the aligned sequences.

        Args:
            logits: [rows, vocab].
            reference: Those of the S references, [S, vocab].
            inputs: See `inputs`.
        """
        regular = self.regular(logits)
        if regular is None:
            branches = logits.index_select(0, self.branches.flatten()).view(*self.branches.shape, -1)
        else:
            branches = regular[:, 1:]
        log_plausibility = self.log_plausibility
        if self.any_fluency and inputs is not None:  # no token costs more than is left
            left = inputs[:, 2].index_select(0, self.aligned).float()
            log_plausibility = (-left).clamp_min(log_plausibility)
        return alignment.align(
            reference if self.all_aligned else reference.index_select(0, self.aligned),
            branches,
            self.weights,
            scale=self.cap,
            taper=self.taper,
            adaptive=self.adaptive,
            log_plausibility=log_plausibility,
            masked=self.masked,
            support_p=self.support_p,
            mask_temperature=self.mask_temperature,
            budget=self.budget,
            temperature=self.aligned_temperature,
            single=self.single,
            grammar=None if masks is None else (masks.forbidden.index_select(0, self.aligned), masks.unaligned),
        )

    def inputs(self) -> Tensor | None:
        """What a step draws and what fluency is left, float64 [S, 3]; None if nobody draws or has a bound."""
        if self.all_greedy and not self.any_fluency:
            return None
        rows = []
        for sequence, _ in self.members:
            draws = (0.0, 0.0) if self.all_greedy else (sequence.next_uniform(), sequence.next_uniform())
            rows.append((*draws, math.inf if sequence.fluency is None else sequence.fluency.left))
        return torch.tensor(rows, dtype=torch.float64)


def describe(members: SequenceOf[Member], device: torch.device) -> Batch:
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

    rows = [[*rows, *[rows[0]] * (k + 1 - len(rows))] for _, rows in members]
    explained = tuple(i for i, (s, _) in enumerate(members) if s.request.list_candidates)
    masked = [i for i, a in enumerate(alignments) if a.support_p < 1]
    temperatures = [s.temperature or 1.0 for s in samplings]
    adaptive = [a.chosen_push == "adaptive" for a in alignments]
    weights = [[*s.request.weights, *[0.0] * (k - len(s.request.weights))] for _, s, _ in aligned]
    return Batch(
        members=list(members),
        rows=integers(rows),
        spacing=_spacing(rows) if device.type == "cpu" and not explained else None,
        reference=integers([own[0] for own in rows]),
        aligned=integers([i for i, _, _ in aligned]),
        branches=integers([rows[i][1:] for i, _, _ in aligned]),
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
        explained=explained,
        any_fluency=any(s.fluency is not None for _, s, _ in aligned),
        single=all(s.request.weights == (1.0,) for _, s, _ in aligned),
        all_aligned=len(aligned) == len(members),
        all_greedy=all(s.temperature == 0 for s in samplings),
    )


def _spacing(rows: list[list[int]]) -> tuple[int, int, int] | None:
    """The first row, the way to the next sequence's and the way to the next of one sequence; None if they vary."""
    first = rows[0][0]
    sequence = rows[1][0] - first if len(rows) > 1 else 1
    row = rows[0][1] - first if len(rows[0]) > 1 else 1
    expected = [[first + i * sequence + j * row for j in range(len(own))] for i, own in enumerate(rows)]
    return (first, sequence, row) if rows == expected and min(sequence, row) > 0 else None


def _mask_temperature(sequence: Sequence) -> float:
    explicit = sequence.request.alignment.mask_temperature
    if explicit is not None:
        return explicit
    return sequence.request.sampling.temperature or _GREEDY_MASK_TEMPERATURE
