"""One step's choice for a batch of sequences: which token, why, and with which randomness."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence as SequenceOf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from la_agents import alignment
from la_agents.engine.sampler import Sampler
from la_agents.engine.sequence import Fluency, Sequence
from la_agents.requests import Alignment, Request, Sampling, TokenRecord

VOCAB = 128  # two of the blocks that the sampler looks at; the tiny models have no whole number of them
NUM_DRAWS = 1200


def sequence(
    *,
    num_branches: int = 0,
    weights: tuple[float, ...] | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = 0,
    method: str = "linear",
    **alignment_settings: float | str | None,
) -> Sequence:
    return Sequence(
        Request(
            reference=(1, 2),
            branches=((1, 3),) * num_branches,
            weights=(1.0,) * num_branches if weights is None else weights,
            sampling=Sampling(temperature=temperature, top_p=top_p, seed=seed),
            alignment=Alignment(**{"strength": 1.0, **alignment_settings}, method=method),
        )
    )


def logits_for(sequences: SequenceOf[Sequence], seed: int = 0, vocab: int = VOCAB) -> tuple[Tensor, list[range]]:
    """Random logits of a batch, and each sequence's rows in it."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(sum(s.num_rows for s in sequences), vocab, generator=generator) * 2
    rows, first = [], 0
    for s in sequences:
        rows.append(range(first, first + s.num_rows))
        first += s.num_rows
    return logits, rows


def sample(sequences: SequenceOf[Sequence], logits: Tensor, rows: SequenceOf[range]) -> list[TokenRecord]:
    return Sampler().sample(logits, list(zip(sequences, rows, strict=True)))


def parts(s: Sequence, logits: Tensor, rows: range) -> tuple[Tensor, Tensor, Tensor]:
    """`reference`, `branches` and `weights` of one sequence, as `alignment` takes them."""
    own = logits[rows.start : rows.stop]
    return own[:1], own[1:].unsqueeze(0), torch.tensor([s.request.weights])


def final_policy(s: Sequence, logits: Tensor, rows: range) -> Tensor:
    """What the method says a token's probability is, [vocab], written from the pure functions."""
    f_0, f, w = parts(s, logits, rows)
    settings_, sampling = s.request.alignment, s.request.sampling
    temperature = sampling.temperature or 1.0
    z = f_0
    if s.request.branches:
        f_1 = alignment.line(f_0, f, w, 1.0)
        adaptive = settings_.chosen_push == "adaptive"
        z, _ = alignment.pushed(f_0, f, w, settings_.scale, settings_.kappa, adaptive=adaptive)
        allowed = alignment.plausible(f_1, settings_.log_plausibility)
        mask_temperature = settings_.mask_temperature or sampling.temperature or 0.5
        allowed &= alignment.nucleus(f_1, settings_.support_p, mask_temperature)
        budget = math.inf if settings_.max_divergence is None else settings_.max_divergence
        _, z = alignment.within_budget(f_0, z, allowed, budget, temperature)
    allowed = alignment.nucleus(z, sampling.top_p, temperature)
    return torch.softmax(z.masked_fill(~allowed, -math.inf) / temperature, dim=-1)[0]


MIXED = (
    {"num_branches": 0},
    {"num_branches": 1, "strength": 2.0},
    {"num_branches": 3, "weights": (0.5, 1.0, 2.0), "strength": 1.5},
    {"num_branches": 1, "strength": -1.0, "principle_top_p": 0.5},
    {"num_branches": 2, "max_divergence": 0.2, "strength": 4.0},
    {"num_branches": 1, "strength": 0.0, "mask_temperature": 3.0, "principle_top_p": 0.95},
    {"num_branches": 1, "weights": (0.0,), "strength": 3.0, "principle_top_p": 1.0},
    {"num_branches": 1, "method": "amulet"},
    {"num_branches": 2, "method": "cfg", "strength": 1.5},
    {"num_branches": 1, "method": "context-steering", "strength": 2.0, "max_divergence": 0.3},
    {"num_branches": 1, "method": "amulet", "principle_top_p": 0.9},
    {"num_branches": 1, "method": "tapered", "strength": 2.0},
    {"num_branches": 2, "method": "tapered", "strength": 3.0, "max_divergence": 0.4, "taper": 0.5},
    {"num_branches": 3, "method": "tapered", "push": "adaptive", "strength": 4.0, "plausibility": 0.01},
    {"num_branches": 1, "method": "tapered", "max_divergence": 0.0},
    {"num_branches": 1, "method": "cfg", "support": "plausible", "strength": 1.5},
)


def mixed(temperature: float, seed: int = 0) -> list[Sequence]:
    return [sequence(**one, temperature=temperature, top_p=0.9, seed=seed + i) for i, one in enumerate(MIXED)]


@pytest.mark.parametrize("seed", range(5))
def test_greedy_in_a_mixed_batch_is_the_method_a_sequence(seed: int) -> None:
    sequences = mixed(temperature=0.0)
    logits, rows = logits_for(sequences, seed)
    for s, own, record in zip(sequences, rows, sample(sequences, logits, rows), strict=True):
        assert record.token_id == final_policy(s, logits, own).argmax().item()
        assert record.reference_id == logits[own.start].argmax().item()
        assert len(record.contributions) == len(s.request.branches)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_batch_mates_change_nothing(temperature: float) -> None:
    together = mixed(temperature)
    logits, rows = logits_for(together)
    records = sample(together, logits, rows)
    for s, own, record in zip(mixed(temperature), rows, records, strict=True):
        (alone,) = sample([s], logits[own.start : own.stop], [range(len(own))])
        assert alone.token_id == record.token_id
        assert alone.reference_id == record.reference_id
        assert alone.divergence == pytest.approx(record.divergence, abs=1e-5)
        assert alone.scale == pytest.approx(record.scale, rel=1e-6)
        assert alone.contributions == pytest.approx(record.contributions, abs=1e-5)


def test_rows_may_lie_anywhere_and_move_between_steps() -> None:
    sequences = mixed(0.0)
    logits, rows = logits_for(sequences)
    sampler = Sampler()
    expected = sampler.sample(logits, list(zip(sequences, rows, strict=True)))
    shuffled = torch.randperm(len(logits), generator=torch.Generator().manual_seed(3))
    where = shuffled.argsort().tolist()
    moved = [(s, [where[row] for row in own]) for s, own in zip(sequences, rows, strict=True)]
    again = sampler.sample(logits[shuffled], moved)
    assert [r.token_id for r in again] == [r.token_id for r in expected]
    fewer = sampler.sample(logits[shuffled], moved[2:])
    assert [r.token_id for r in fewer] == [r.token_id for r in expected[2:]]


# -- sampling ----------------------------------------------------------------------------------------------------------


def deviation(counts: Tensor, probabilities: Tensor) -> float:
    """How many standard deviations Pearson's statistic lies above its mean if the counts follow the probabilities."""
    expected = probabilities.double() * counts.sum()
    assert counts[expected == 0].sum() == 0, "a token outside the support was drawn"
    common = expected > 5
    pooled = torch.stack([counts[~common].sum().double(), expected[~common].sum()])
    statistic = ((counts[common] - expected[common]) ** 2 / expected[common]).sum()
    freedom = int(common.sum()) - 1
    if pooled[1] > 5:
        statistic = statistic + (pooled[0] - pooled[1]) ** 2 / pooled[1]
        freedom += 1
    return float((statistic - freedom) / max(2 * freedom, 1) ** 0.5)


@pytest.mark.parametrize("which", range(len(MIXED)))
def test_draws_follow_the_aligned_policy_and_the_reference_its_own(which: int) -> None:
    settings_ = {**MIXED[which], "temperature": 0.7, "top_p": 0.95}
    logits, (rows,) = logits_for([sequence(**settings_)], seed=which)
    copies = [sequence(**settings_, seed=i) for i in range(NUM_DRAWS)]
    records = sample(copies, logits, [rows] * NUM_DRAWS)
    drawn = torch.tensor([r.token_id for r in records]).bincount(minlength=VOCAB)
    other = torch.tensor([r.reference_id for r in records]).bincount(minlength=VOCAB)
    pi = final_policy(copies[0], logits, rows)
    pi_0 = final_policy(sequence(temperature=0.7, top_p=0.95), logits, rows)
    assert deviation(drawn, pi) < 5
    assert deviation(other, pi_0) < 5
    # Maximal coupling: no more tokens differ than the two policies force.
    changed = sum(r.token_id != r.reference_id for r in records) / NUM_DRAWS
    assert changed == pytest.approx(float((pi - pi_0).clamp_min(0).sum()), abs=0.05)


def test_the_references_other_choice_is_drawn_afresh() -> None:
    """Where alignment takes token 1, the reference takes 2 or 3, which it finds equally likely."""
    policies = torch.tensor([[0.5, 1e-9, 0.25, 0.25], [0.5, 0.5, 1e-9, 1e-9]])
    one = {"num_branches": 1, "strength": 0.0, "principle_top_p": 1.0, "temperature": 1.0}
    records = sample([sequence(**one, seed=i) for i in range(2000)], policies.log(), [range(2)] * 2000)
    assert {r.token_id for r in records} == {0, 1}
    assert all(r.reference_id == 0 for r in records if r.token_id == 0)
    others = [r.reference_id for r in records if r.token_id == 1]
    assert set(others) == {2, 3}
    assert others.count(2) / len(others) == pytest.approx(0.5, abs=0.05)


def test_an_unaligned_sequence_never_differs_from_its_reference() -> None:
    copies = [sequence(temperature=1.0, seed=i) for i in range(200)]
    logits, _ = logits_for(copies[:1])
    for record in sample(copies, logits, [range(1)] * 200):
        assert record.token_id == record.reference_id
        assert record.divergence == record.scale == 0
        assert record.contributions == ()


def test_top_p_keeps_the_nucleus_of_what_the_support_left() -> None:
    settings_ = {"num_branches": 1, "principle_top_p": 0.95, "temperature": 2.0, "top_p": 0.6}
    copies = [sequence(**settings_, seed=i) for i in range(300)]
    logits, (rows,) = logits_for(copies[:1])
    allowed = final_policy(copies[0], logits, rows) > 0
    drawn = {r.token_id for r in sample(copies, logits, [rows] * 300)}
    assert drawn <= set(allowed.nonzero().flatten().tolist())
    assert 1 < len(drawn) < VOCAB


def test_a_seed_gives_the_same_draws_and_another_seed_others() -> None:
    logits, rows = logits_for([sequence()])

    def stream(seed: int | None) -> list[int]:
        s, sampler = sequence(temperature=1.5, seed=seed), Sampler()
        return [sampler.sample(logits, [(s, rows[0])])[0].token_id for _ in range(20)]

    assert stream(1) == stream(1) != stream(2)
    assert stream(None) != stream(None)


def test_greedy_ignores_the_seed_and_batch_mates_that_sample() -> None:
    greedy = [sequence(num_branches=1, seed=i) for i in range(3)]
    sampled = [sequence(num_branches=1, temperature=2.0, seed=i) for i in range(3)]
    logits, rows = logits_for([*greedy, *sampled])
    with_mates = sample([*greedy, *sampled], logits, rows)[:3]
    assert with_mates == sample(greedy, logits[:6], rows[:3])


# -- the report --------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), strength=st.floats(-1, 5), temperature=st.sampled_from([0.0, 0.5, 1.3]))
def test_divergence_scale_and_shares_are_the_methods(seed: int, strength: float, temperature: float) -> None:
    s = sequence(num_branches=3, weights=(0.5, 1.0, 2.0), strength=strength, temperature=temperature)
    logits, (rows,) = logits_for([s], seed)
    (record,) = sample([s], logits, [rows])
    f_0, f, w = parts(s, logits, rows)
    t = temperature or 1.0
    assert record.scale == pytest.approx(1 + strength, abs=1e-5)
    allowed = alignment.support(f_0, f, w, 0.8, temperature or 0.5)
    moved = alignment.line(f_0, f, w, 1 + strength).masked_fill(~allowed, -math.inf)
    assert record.divergence == pytest.approx(float(alignment.divergence(moved, f_0, t)), rel=1e-3, abs=1e-5)
    # Shares are additive: together they are s times the slope of log pi_s(token) at the reference.
    h = 1e-3
    step = h * alignment.direction(f_0, f, w).double()
    up, down = (torch.log_softmax((f_0.double() + sign * step) / t, dim=-1)[0, record.token_id] for sign in (1, -1))
    assert sum(record.contributions) == pytest.approx(record.scale * float(up - down) / (2 * h), rel=1e-3, abs=1e-3)


def test_each_share_is_its_own_branchs_and_does_not_see_a_constant() -> None:
    both = sequence(num_branches=2, weights=(1.0, 0.7))
    logits, (rows,) = logits_for([both])
    (record,) = sample([both], logits, [rows])
    shifted = logits.clone()
    shifted[2] += 7.0
    (same,) = sample([both], shifted, [rows])
    assert same.token_id == record.token_id
    assert same.contributions == pytest.approx(record.contributions, abs=1e-4)
    silent = logits.clone()
    silent[2] = silent[0]
    (one,) = sample([both], silent, [rows])
    assert one.contributions[1] == pytest.approx(0.0, abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), budget=st.floats(0, 2), temperature=st.sampled_from([0.0, 0.7]))
def test_the_budget_is_respected_a_sequence(seed: int, budget: float, temperature: float) -> None:
    free = sequence(num_branches=1, strength=5.0, temperature=temperature, seed=1)
    tight = sequence(num_branches=2, strength=5.0, max_divergence=budget, temperature=temperature, seed=1)
    logits, rows = logits_for([free, tight], seed)
    unbound, bound = sample([free, tight], logits, rows)
    assert bound.divergence <= budget + 1e-4
    assert bound.scale <= 6.0
    assert bound.scale == 6.0 or bound.divergence >= budget - 1e-4
    assert unbound.scale == 6.0


@pytest.mark.parametrize("method", ["linear", "tapered", "cfg"])
@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("num_branches", [1, 3])
def test_a_budget_of_0_is_the_reference_token_for_token(method: str, temperature: float, num_branches: int) -> None:
    for seed in range(20):
        free = {"temperature": temperature, "top_p": 0.95, "seed": seed}
        sequences = [
            sequence(num_branches=num_branches, strength=3.0, max_divergence=0.0, method=method, **free),
            sequence(num_branches=1, strength=3.0, method=method, **free),
        ]
        logits, rows = logits_for(sequences, seed)
        record, _ = sample(sequences, logits, rows)
        (plain,) = sample([sequence(**free)], logits[:1], [range(1)])
        assert record.token_id == record.reference_id == plain.token_id
        assert record.divergence == pytest.approx(0.0, abs=1e-6)
        assert record.scale == 0
        assert record.contributions == (0.0,) * num_branches


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    budget=st.sampled_from([0.0, 0.01, 0.3, 2.0]),
    method=st.sampled_from(["linear", "tapered", "cfg"]),
    temperature=st.sampled_from([0.0, 0.7]),
)
def test_what_is_decoded_is_within_the_budget_and_is_what_the_report_says(
    seed: int, budget: float, method: str, temperature: float
) -> None:
    s = sequence(num_branches=2, strength=4.0, method=method, max_divergence=budget, temperature=temperature)
    logits, (rows,) = logits_for([s], seed)
    (record,) = sample([s], logits, [rows])
    pi, pi_0 = final_policy(s, logits, rows).double(), torch.softmax(logits[rows.start] / (temperature or 1.0), -1)
    real = float(torch.where(pi > 0, pi * (pi / pi_0).log(), 0.0).sum())
    assert real <= budget + 1e-4
    assert record.divergence == pytest.approx(real, abs=1e-4)


def test_fluency_bounds_what_an_answer_gives_away_of_its_likelihood() -> None:
    rate, steps = 0.2, 60
    free = sequence(num_branches=1, method="cfg", strength=20.0)
    bound = sequence(num_branches=1, method="cfg", strength=20.0, fluency=rate)
    costs: dict[Sequence, float] = {free: 0.0, bound: 0.0}
    for step in range(steps):
        logits, rows = logits_for([free, bound], seed=step)
        logits[2:] = logits[:2]
        for s, own, record in zip((free, bound), rows, sample([free, bound], logits, rows), strict=True):
            log_p_1 = torch.log_softmax(logits[own.start + 1], dim=-1)
            costs[s] += float(log_p_1.max() - log_p_1[record.token_id])
    assert costs[bound] / steps <= rate + Fluency.BURST / steps + 1e-4
    assert costs[free] / steps > 2 * (rate + Fluency.BURST / steps), "the push alone would cost far more"
    assert costs[bound] > 0.9 * (steps * rate), "and it is spent"


def test_an_empty_bucket_leaves_prompting() -> None:
    s = sequence(num_branches=1, method="cfg", strength=20.0, fluency=0.0)
    assert s.fluency is not None
    s.fluency.spend(Fluency.BURST)
    for seed in range(10):
        logits, (rows,) = logits_for([s], seed)
        (record,) = sample([s], logits, [rows])
        assert record.token_id == logits[1].argmax().item()


def test_drawn_tokens_pay_what_they_are_less_likely_than_the_average() -> None:
    s = sequence(num_branches=1, method="cfg", strength=0.0, fluency=0.3, temperature=1.0)
    assert s.fluency is not None
    spent = 0.0
    for seed in range(40):
        logits, (rows,) = logits_for([s], seed)
        left = s.fluency.left
        (record,) = sample([s], logits, [rows])
        log_p_1 = torch.log_softmax(logits[1], dim=-1)
        cost = float((log_p_1.exp() * log_p_1).sum() - log_p_1[record.token_id])
        assert s.fluency.left == pytest.approx(min(Fluency.BURST, max(0.0, left - cost) + 0.3), abs=1e-4)
        spent += cost
    assert spent < 40 * 0.3 + Fluency.BURST


def test_settings_show_where_they_matter() -> None:
    """The authors' vector, and what the mask's temperature does to its nucleus."""
    logits = torch.tensor([[-5.0, 14.0, -4.0, 0.0], [-5.0, 10.0, 7.0, 0.0]])
    choose = [
        sequence(num_branches=1, strength=2.0),
        sequence(num_branches=1, strength=2.0, mask_temperature=5.0, principle_top_p=0.99),
        sequence(num_branches=1, strength=2.0, principle_top_p=1.0),
        sequence(num_branches=1, strength=-1.0, principle_top_p=1.0),
    ]
    records = sample(choose, logits, [range(2)] * 4)
    assert [r.token_id for r in records] == [1, 2, 2, 1]
    assert {r.reference_id for r in records} == {1}


# -- broken logits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("how_many", ["one", "all"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_show_in_their_own_sequence_alone(
    value: float, row: int, how_many: str, temperature: float
) -> None:
    sequences = [sequence(num_branches=1, temperature=temperature, seed=i) for i in range(3)]
    logits, rows = logits_for(sequences)
    healthy = sample([sequence(num_branches=1, temperature=temperature, seed=i) for i in range(3)], logits, rows)
    logits[2 + row, 5 if how_many == "one" else slice(None)] = value
    records = sample(sequences, logits, rows)
    assert math.isnan(records[1].divergence)
    for n in (0, 2):  # rounded otherwise on some processors, in what else contributions the batch
        same = dataclasses.replace(records[n], divergence=healthy[n].divergence, contributions=healthy[n].contributions)
        assert same == healthy[n]
        assert records[n].divergence == pytest.approx(healthy[n].divergence, rel=1e-5)
        assert records[n].contributions == pytest.approx(healthy[n].contributions, rel=1e-5, abs=1e-6)


def test_impossible_tokens_are_no_error() -> None:
    sequences = [sequence(num_branches=1), sequence()]
    logits, rows = logits_for(sequences)
    logits[0, ::2] = -math.inf
    logits[1, ::3] = -math.inf
    for record in sample(sequences, logits, rows):
        assert not math.isnan(record.divergence)
    assert sample(sequences, logits, rows)[0].token_id % 2 == 1


# -- what else was likely ----------------------------------------------------------------------------------------------


def explained(s: Sequence) -> Sequence:
    return Sequence(dataclasses.replace(s.request, list_candidates=True))


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("num_branches", [0, 1, 3])
def test_candidates_are_the_likeliest_tokens_of_both_policies_with_their_probabilities(
    num_branches: int, temperature: float
) -> None:
    plain = sequence(num_branches=num_branches, temperature=temperature, strength=1.5)
    asked = explained(plain)
    logits, (rows, _) = logits_for([asked, plain])
    record, other = sample([asked, plain], torch.cat([logits[: len(rows)]] * 2), [rows, range(len(rows), len(logits))])
    assert dataclasses.replace(record, candidates=()) == other  # the choice is the same, and who does not ask gets none

    own = logits[: len(rows)]
    t = temperature or 1.0
    reference = torch.softmax(own[0] / t, dim=-1)
    aligned = reference
    if num_branches:
        f_0, branches, weights = parts(plain, logits, rows)
        inside = alignment.support(f_0, branches, weights, 0.8, temperature or 0.5)[0]
        f_s = alignment.line(f_0, branches, weights, 2.5)[0]
        aligned = torch.softmax((f_s / t).masked_fill(~inside, -math.inf), dim=-1)
    found = {c.token_id: c for c in record.candidates}
    likely = {*reference.topk(5).indices.tolist(), *(i for i in aligned.topk(5).indices.tolist() if aligned[i] > 0)}
    assert set(found) == likely | {record.token_id}
    assert len(found) == len(record.candidates)
    for token, candidate in found.items():
        assert candidate.reference == pytest.approx(reference[token].item(), abs=1e-5)
        assert candidate.aligned == pytest.approx(aligned[token].item(), abs=1e-5)
    assert [c.aligned for c in record.candidates] == sorted((c.aligned for c in record.candidates), reverse=True)


def test_a_vocabulary_smaller_than_the_list_is_listed_whole() -> None:
    asked = explained(sequence(num_branches=1, principle_top_p=1.0))
    logits, rows = logits_for([asked], vocab=3)
    (record,) = sample([asked], logits, rows)
    assert {c.token_id for c in record.candidates} == {0, 1, 2}
