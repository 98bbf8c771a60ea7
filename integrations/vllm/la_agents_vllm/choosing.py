"""Choosing: logits of all rows in, one token a request out, and forced upon all its rows; vectorised over the batch.

The arithmetic is that of la_agents' own engine. What a grammar forbids has a logit of -inf in every row when it comes
here; where the grammar's answer is not aligned (`Arguments.trigger`), the scheduler forbids the branches' rows every
token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from la_agents_vllm import alignment
from la_agents_vllm.arguments import Row
from la_agents_vllm.buckets import Buckets
from la_agents_vllm.records import NUM_CANDIDATES, write

__all__ = ["FORCED", "Gangs", "choose", "describe"]

FORCED = 1e30
"""The logit that leaves vLLM's sampler no choice."""
_NEG_INF = float("-inf")
_NAN = float("nan")


@dataclass(frozen=True)
class Gangs:
    """S requests with all their rows, of which A have branches, at most K; absent ones point at the reference."""

    rows: Tensor  # [R], all of them
    owners: Tensor  # [R], which of the S each belongs to
    reference: Tensor  # [S]
    aligned: Tensor  # [A], places among the S
    branches: Tensor  # [A, K]
    weights: Tensor  # [A, K]
    scale: Tensor  # [A]
    taper: Tensor  # [A]
    adaptive: Tensor  # [A]
    budget: Tensor  # [A]
    log_plausibility: Tensor  # [A]
    rates: Tensor  # [A], of fluency, inf for none
    buckets: Tensor  # [A]
    masked: Tensor  # [M], places among the A of those whose support is a nucleus
    support_p: Tensor  # [M]
    mask_temperature: Tensor  # [M]
    temperature: Tensor  # [S], 1 where greedy
    top_p: Tensor  # [S]
    greedy: Tensor  # [S]
    recorded: Tensor  # [P], places among the S
    unlisted: Tensor  # [P], whether candidates are left out
    any_adaptive: bool
    any_budget: bool
    any_plausible: bool
    any_fluency: bool
    any_top_p: bool
    any_recorded: bool
    any_listed: bool
    all_greedy: bool
    single: bool  # whether each has one branch of weight 1

    def at(self, places: Tensor) -> Gangs:
        """The same requests, their rows' numbers looked up in `places`."""
        return replace(self, rows=places[self.rows], reference=places[self.reference], branches=places[self.branches])


def describe(gangs: Sequence[tuple[Sequence[int], Row]], buckets: Buckets, device: torch.device) -> Gangs:
    """Requests as tensors: of each its rows, the reference's first, and what is known of the reference."""
    aligned = [(i, rows, row) for i, (rows, row) in enumerate(gangs) if row.size > 1]
    k = max((row.size - 1 for _, _, row in aligned), default=0)
    settings = [row for _, row in gangs]
    steered = [row for _, _, row in aligned]
    masked = [i for i, row in enumerate(steered) if row.support_p < 1]
    recorded = [i for i, row in enumerate(settings) if row.record]

    def floats(values: Sequence[object], *shape: int) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device).view(len(values), *shape)

    def integers(values: Sequence[object], *shape: int) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=device).view(len(values), *shape)

    def flags(values: list[bool]) -> Tensor:
        return torch.tensor(values, dtype=torch.bool, device=device)

    return Gangs(
        rows=integers([number for rows, _ in gangs for number in rows]),
        owners=integers([i for i, (rows, _) in enumerate(gangs) for _ in rows]),
        reference=integers([rows[0] for rows, _ in gangs]),
        aligned=integers([i for i, _, _ in aligned]),
        branches=integers([[*rows[1:], *[rows[0]] * (k + 1 - len(rows))] for _, rows, _ in aligned], k),
        weights=floats([[*row.weights, *[0.0] * (k - len(row.weights))] for row in steered], k),
        scale=floats([row.scale for row in steered]),
        taper=floats([row.taper for row in steered]),
        adaptive=flags([bool(row.adaptive) for row in steered]),
        budget=floats([row.max_divergence for row in steered]),
        log_plausibility=floats([math.log(row.plausibility) if row.plausibility else _NEG_INF for row in steered]),
        rates=floats([math.inf if row.fluency is None else row.fluency for row in steered]),
        buckets=integers([0 if row.fluency is None else buckets.slot_of(row.gang) for row in steered]),
        masked=integers(masked),
        support_p=floats([steered[i].support_p for i in masked]),
        mask_temperature=floats([steered[i].mask_temperature for i in masked]),
        temperature=floats([row.temperature or 1.0 for row in settings]),
        top_p=floats([row.top_p for row in settings]),
        greedy=flags([row.temperature == 0 for row in settings]),
        recorded=integers(recorded),
        unlisted=flags([settings[i].record < 2 for i in recorded]),
        any_adaptive=any(row.adaptive for row in steered),
        any_budget=any(row.max_divergence < math.inf for row in steered),
        any_plausible=any(row.plausibility > 0 for row in steered),
        any_fluency=any(row.fluency is not None for row in steered),
        any_top_p=any(row.top_p < 1 for row in settings),
        any_recorded=bool(recorded),
        any_listed=any(row.record == 2 for row in settings),
        all_greedy=all(row.temperature == 0 for row in settings),
        single=all(row.weights == (1.0,) for row in steered),
    )


def choose(logits: Tensor, gangs: Gangs, uniforms: Tensor, places: Tensor, buckets: Buckets) -> Tensor:
    """Each request's token, [S]; the rows of `logits` [rows, vocab] are left with no other choice.

    Args:
        uniforms: [2, S], float64; not read where all are greedy.
        places: Tokens that each answer holds so far, [S].
    """
    reference = logits.index_select(0, gangs.reference)
    step = (
        _align(logits, reference.index_select(0, gangs.aligned), gangs, places, buckets) if len(gangs.aligned) else None
    )
    final = _final(step, reference, gangs)
    tokens, reference_tokens = _choose(step, final, reference, gangs, uniforms)
    if step is not None and gangs.any_fluency:
        at = gangs.aligned
        buckets.spend(gangs.buckets, places[at], step.cost(tokens[at], gangs.greedy[at]), gangs.rates)
    facts = None
    if gangs.any_recorded and final is not None:
        facts = _facts(tokens, reference_tokens, final, reference, step, gangs)
    logits[gangs.rows, tokens[gangs.owners]] = FORCED
    if facts is not None:
        write(logits, gangs.reference[gangs.recorded], tokens[gangs.recorded], facts)
    return tokens


def _align(logits: Tensor, reference: Tensor, gangs: Gangs, places: Tensor, buckets: Buckets) -> alignment.Step:
    """One step of the A aligned requests."""
    f_0 = reference if len(gangs.aligned) == len(reference) else reference.index_select(0, gangs.aligned)
    branches = logits.index_select(0, gangs.branches.flatten()).view(*gangs.branches.shape, -1)
    log_plausibility: float | Tensor = gangs.log_plausibility if gangs.any_plausible else _NEG_INF
    if gangs.any_fluency:
        left = buckets.left(gangs.buckets, places[gangs.aligned]).masked_fill(torch.isinf(gangs.rates), math.inf)
        log_plausibility = torch.maximum(gangs.log_plausibility, -left)
    grammar = None
    if not bool(torch.isfinite(f_0.sum())):
        grammar = torch.isneginf(f_0), torch.isneginf(branches[:, 0].amax(dim=-1))
    return alignment.align(
        f_0,
        branches,
        gangs.weights,
        scale=gangs.scale,
        taper=gangs.taper,
        adaptive=gangs.adaptive if gangs.any_adaptive else False,
        log_plausibility=log_plausibility,
        masked=gangs.masked,
        support_p=gangs.support_p,
        mask_temperature=gangs.mask_temperature,
        budget=gangs.budget if gangs.any_budget else math.inf,
        temperature=1.0 if gangs.all_greedy else gangs.temperature[gangs.aligned],
        single=gangs.single,
        grammar=grammar,
    )


def _final(step: alignment.Step | None, reference: Tensor, gangs: Gangs) -> Tensor | None:
    """What is decoded, [S, vocab]; None where the likeliest tokens say all that is asked."""
    if gangs.all_greedy and not gangs.any_recorded:
        return None
    return reference if step is None else reference.index_copy(0, gangs.aligned, step.whole())


def _choose(
    step: alignment.Step | None, final: Tensor | None, reference: Tensor, gangs: Gangs, uniforms: Tensor
) -> tuple[Tensor, Tensor]:
    """The chosen tokens [S], and, for records, what the reference alone would have chosen [S]."""
    if step is not None and len(gangs.aligned) == len(reference) and not gangs.any_recorded:
        alone = tokens = step.likeliest()
    else:
        alone = alignment.likeliest(reference)
        tokens = alone if step is None else alone.index_copy(0, gangs.aligned, step.likeliest())
    if gangs.all_greedy or final is None:
        return tokens, alone
    first, second = uniforms.unbind(dim=0)
    top_p = gangs.top_p if gangs.any_top_p else None
    pi = alignment.sampled_from(final, top_p, gangs.temperature)
    if step is None or not gangs.any_recorded:
        tokens = torch.where(gangs.greedy, tokens, alignment.draw(pi, first))
        return tokens, tokens
    pi_0 = alignment.sampled_from(reference, top_p, gangs.temperature)
    drawn, other = alignment.coupled(pi, pi_0, first, second)
    return torch.where(gangs.greedy, tokens, drawn), torch.where(gangs.greedy, alone, other)


def _facts(
    tokens: Tensor, alone: Tensor, final: Tensor, reference: Tensor, step: alignment.Step | None, gangs: Gangs
) -> Tensor:
    """What `records` says of each token, [P, facts], padded with nan."""
    k = gangs.branches.shape[1] if step is not None else 0
    facts = reference.new_zeros((len(tokens), 3 + k))
    if step is not None:
        at = gangs.aligned
        own = step.facts(tokens[at], gangs.weights)
        divergence, scale, shares = own[:, :1], own[:, 1:2].nan_to_num(0.0), own[:, 3:].nan_to_num(0.0)
        absent = gangs.branches == gangs.reference[at].unsqueeze(1)
        columns = [torch.zeros_like(scale), divergence, scale, shares.masked_fill(absent, _NAN)]
        facts = facts.fill_(_NAN).index_copy(0, at, torch.cat(columns, dim=1))
        alone_rows = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device).index_fill(0, at, False)
        facts[:, 1:3] = facts[:, 1:3].masked_fill(alone_rows.unsqueeze(1), 0.0)
    facts[:, 0] = alone.to(facts.dtype)
    finite = torch.isfinite(reference.amax(dim=-1)) & torch.isfinite(final.amax(dim=-1)) & ~torch.isnan(facts[:, 1])
    facts[:, 1] = torch.where(finite, facts[:, 1], -1.0)
    facts = facts.index_select(0, gangs.recorded)
    if not gangs.any_listed:
        return facts
    listed = _candidates(tokens, final, reference, gangs).index_select(0, gangs.recorded)
    return torch.cat([facts, listed.masked_fill(gangs.unlisted.unsqueeze(1), _NAN)], dim=1)


def _candidates(tokens: Tensor, final: Tensor, reference: Tensor, gangs: Gangs) -> Tensor:
    """The chosen token and the likeliest under either policy as (id, before, after), [S, 3 a candidate]."""
    policies = torch.stack([alignment.policy(f, gangs.temperature).exp_() for f in (reference, final)])
    likeliest = policies.topk(min(NUM_CANDIDATES, policies.shape[-1])).indices
    ids = torch.cat([tokens.unsqueeze(-1), *likeliest], dim=-1)
    probabilities = policies.gather(-1, ids.expand(2, -1, -1))
    return torch.stack([ids.to(policies.dtype), *probabilities], dim=-1).flatten(1)
