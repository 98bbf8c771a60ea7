"""Choosing: logits of all rows in, one token a request out, and forced upon all its rows; vectorised over the batch.

The arithmetic is that of `la_agents.engine.sampler`. What a grammar forbids has a logit of -inf in every row when it
comes here; where the grammar's answer is not aligned (`Arguments.trigger`), the scheduler forbids the branches' rows
every token.
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
_IMPOSSIBLE = -1e9
"""The logit of what a grammar forbids, while policies are compared: finite, and no probability in float32."""
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
    final, step = reference, None
    if len(gangs.aligned):
        step = _align(logits, reference.index_select(0, gangs.aligned), gangs, places, buckets)
        final = reference.index_copy(0, gangs.aligned, step.final)
    tokens, reference_tokens = _choose(final, reference, gangs, uniforms)
    if step is not None and gangs.any_fluency:
        at = gangs.aligned
        cost = alignment.cost(step.f_1, tokens[at], gangs.temperature[at], gangs.greedy[at])
        buckets.spend(gangs.buckets, places[at], cost, gangs.rates)
    facts = _facts(tokens, reference_tokens, final, reference, step, gangs) if gangs.any_recorded else None
    logits[gangs.rows, tokens[gangs.owners]] = FORCED
    if facts is not None:
        write(logits, gangs.reference[gangs.recorded], tokens[gangs.recorded], facts)
    return tokens


@dataclass(frozen=True)
class _Step:
    """One aligned step of A requests."""

    f_0: Tensor  # [A, vocab]
    f_1: Tensor  # [A, vocab]
    branches: Tensor  # [A, K, vocab]
    final: Tensor  # [A, vocab], what is decoded, -inf outside the support
    fraction: Tensor  # [A], the part of the way that the budget allows
    gamma: Tensor  # [A], of this step


def _align(logits: Tensor, f_0: Tensor, gangs: Gangs, places: Tensor, buckets: Buckets) -> _Step:
    branches = logits.index_select(0, gangs.branches.flatten()).view(*gangs.branches.shape, -1)
    scale, forbidden, unaligned = gangs.scale, None, None
    if not bool(torch.isfinite(f_0.sum())):
        forbidden = torch.isneginf(f_0)
        unaligned = torch.isneginf(branches[:, 0].amax(dim=-1))
        # First the grammar: support, push and budget are about the policies of what it allows.
        f_0 = f_0.masked_fill(forbidden, _IMPOSSIBLE)
        branches = branches.masked_fill(forbidden.unsqueeze(1), _IMPOSSIBLE)
        branches = torch.where(unaligned[:, None, None], f_0.unsqueeze(1), branches)
        scale = scale.masked_fill(unaligned, 0.0)
    f_1 = branches[:, 0] if gangs.single else alignment.line(f_0, branches, gangs.weights, 1.0)
    z, gamma = alignment.pushed(f_0, branches, gangs.weights, scale, gangs.taper, adaptive=gangs.adaptive)
    allowed = _support(f_1, gangs, places, buckets)
    if forbidden is not None and unaligned is not None:
        f_1 = torch.where(unaligned.unsqueeze(1), f_0, f_1)
        allowed = (allowed | unaligned.unsqueeze(1)) & ~forbidden
    if gangs.any_budget:
        temperature = gangs.temperature[gangs.aligned]
        fraction, final = alignment.within_budget(f_0, z, allowed, gangs.budget, temperature)
        final = final if forbidden is None else final.masked_fill(forbidden, _NEG_INF)
    else:
        fraction, final = torch.ones_like(gamma), z.masked_fill(~allowed, _NEG_INF)
    return _Step(f_0, f_1, branches, final, fraction, gamma)


def _support(f_1: Tensor, gangs: Gangs, places: Tensor, buckets: Buckets) -> Tensor:
    """Which tokens may be chosen, [A, vocab], bool, never none."""
    log_plausibility = gangs.log_plausibility
    if gangs.any_fluency:
        left = buckets.left(gangs.buckets, places[gangs.aligned]).masked_fill(torch.isinf(gangs.rates), math.inf)
        log_plausibility = torch.maximum(log_plausibility, -left)
    if gangs.any_plausible or gangs.any_fluency:
        allowed = alignment.plausible(f_1, log_plausibility)
    else:
        allowed = torch.ones_like(f_1, dtype=torch.bool)
    if not len(gangs.masked):
        return allowed
    nucleus = alignment.nucleus(f_1.index_select(0, gangs.masked), gangs.support_p, gangs.mask_temperature)
    return allowed.index_copy(0, gangs.masked, allowed.index_select(0, gangs.masked) & nucleus)


def _choose(final: Tensor, reference: Tensor, gangs: Gangs, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """The chosen tokens [S], and, for records, what the reference alone would have chosen [S]."""
    tokens = alignment.likeliest(final)
    alone = tokens if final is reference or not gangs.any_recorded else alignment.likeliest(reference)
    if gangs.all_greedy:
        return tokens, alone
    first, second = uniforms.unbind(dim=0)
    top_p = gangs.top_p if gangs.any_top_p else None
    pi = alignment.sampled_from(final, top_p, gangs.temperature)
    if alone is tokens:
        tokens = torch.where(gangs.greedy, tokens, alignment.draw(pi, first))
        return tokens, tokens
    pi_0 = alignment.sampled_from(reference, top_p, gangs.temperature)
    drawn, other = alignment.coupled(pi, pi_0, first, second)
    return torch.where(gangs.greedy, tokens, drawn), torch.where(gangs.greedy, alone, other)


def _facts(tokens: Tensor, alone: Tensor, final: Tensor, reference: Tensor, step: _Step | None, gangs: Gangs) -> Tensor:
    """What `records` says of each token, [P, facts], padded with nan."""
    k = gangs.branches.shape[1] if step is not None else 0
    facts = reference.new_zeros((len(tokens), 3 + k))
    if step is not None:
        at = gangs.aligned
        temperature = gangs.temperature[at]
        log_pi_0, pi_0 = alignment.distribution(step.f_0, temperature)
        divergence = alignment.relative_entropy(alignment.policy(step.final, temperature), log_pi_0)
        scale = step.fraction * alignment.reach(step.f_1, tokens[at], step.gamma, gangs.taper)
        shares = alignment.contributions(step.f_0, step.branches, gangs.weights, tokens[at], scale, temperature, pi_0)
        absent = gangs.branches == gangs.reference[at].unsqueeze(1)
        columns = torch.stack([torch.zeros_like(scale), divergence, scale.nan_to_num(0.0)], dim=1)
        facts = facts.fill_(_NAN).index_copy(
            0, at, torch.cat([columns, shares.nan_to_num(0.0).masked_fill(absent, _NAN)], dim=1)
        )
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
