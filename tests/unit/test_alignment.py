"""The method as pure functions: what must hold for any logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import log_softmax
from transformers import UnbatchedClassifierFreeGuidanceLogitsProcessor

from la_agents import alignment

NEG_INF = float("-inf")
SEEDS = st.integers(0, 2**32 - 1)
examples = settings(max_examples=30, deadline=None)


def branches_of(
    seed: int, *, batch: int = 3, k: int = 2, vocab: int = 50, magnitude: float = 5.0, forbidden: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Random `reference`, `branches` and `weights`; a share `forbidden` of the logits is -inf, never a whole row."""
    generator = torch.Generator().manual_seed(seed)
    f_0 = torch.randn(batch, vocab, generator=generator) * magnitude
    f = f_0.unsqueeze(1) + torch.randn(batch, k, vocab, generator=generator) * magnitude
    for logits in (f_0, f):
        # Token 0 stays possible everywhere.
        logits[..., 1:][torch.rand(logits[..., 1:].shape, generator=generator) < forbidden] = NEG_INF
    return f_0, f, torch.rand(batch, k, generator=generator) * 2


def one_branch(seed: int, **shape: float) -> tuple[Tensor, Tensor, Tensor]:
    f_0, f, _ = branches_of(seed, k=1, **shape)
    return f_0, f, torch.ones(len(f_0), 1)


def kl(f_0: Tensor, f: Tensor, weights: Tensor, s: float | Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """KL(pi_s || pi_0) in float64, written down apart from the library's."""
    s = torch.as_tensor(s, dtype=torch.float64).expand(len(f_0)).unsqueeze(1)
    t = torch.as_tensor(temperature, dtype=torch.float64).expand(len(f_0)).unsqueeze(1)
    g = (weights.double().unsqueeze(-1) * (f.double() - f_0.double().unsqueeze(1))).sum(1)
    log_pi, log_pi_0 = log_softmax((f_0.double() + s * g) / t, -1), log_softmax(f_0.double() / t, -1)
    return (log_pi.exp() * (log_pi - log_pi_0)).sum(-1)


def full_sort_nucleus(logits: Tensor, p: float, temperature: float) -> Tensor:
    """The definition: sort everything, drop a token if the mass before it is >= p, keep the first."""
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    order = probabilities.sort(dim=-1, descending=True, stable=True)
    mass = order.values.cumsum(-1)
    before = torch.cat([torch.zeros_like(mass[:, :1]), mass[:, :-1]], dim=-1)
    kept = before < p
    kept[:, 0] = True
    return torch.zeros_like(kept).scatter(-1, order.indices, kept)


# -- the line ----------------------------------------------------------------------------------------------------------


@examples
@given(seed=SEEDS, magnitude=st.sampled_from([1.0, 30.0, 1e4]), forbidden=st.sampled_from([0.0, 0.3]))
def test_the_ends_of_the_line_are_the_branches_bit_for_bit(seed: int, magnitude: float, forbidden: float) -> None:
    f_0, f, ones = one_branch(seed, magnitude=magnitude, forbidden=forbidden)
    assert torch.equal(alignment.line(f_0, f, ones, 0.0), f_0)
    assert torch.equal(alignment.line(f_0, f, ones, 1.0), f[:, 0])


@examples
@given(seed=SEEDS, gamma=st.floats(-1, 10))
def test_one_principle_is_the_papers_closed_form(seed: int, gamma: float) -> None:
    f_0, f, ones = one_branch(seed)
    z = alignment.line(f_0, f, ones, 1 + gamma)
    s = np.float32(1 + gamma)
    gamma_32 = np.float32(s - np.float32(1))  # the gamma that float32 makes of it
    assert torch.equal(z, (-float(gamma_32)) * f_0 + float(s) * f[:, 0])
    torch.testing.assert_close(z.double(), (1 + gamma) * f[:, 0].double() - gamma * f_0.double(), rtol=1e-5, atol=1e-3)


@examples
@given(seed=SEEDS, s=st.floats(0, 11))
def test_the_line_follows_the_weighted_direction(seed: int, s: float) -> None:
    f_0, f, weights = branches_of(seed, k=3)
    expected = f_0 + s * (weights.unsqueeze(-1) * (f - f_0.unsqueeze(1))).sum(1)
    torch.testing.assert_close(alignment.line(f_0, f, weights, s), expected, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(
        alignment.line(f_0, f, weights, s), f_0 + s * alignment.direction(f_0, f, weights), rtol=1e-4, atol=1e-3
    )


@examples
@given(seed=SEEDS)
def test_a_branch_of_weight_0_takes_no_part(seed: int) -> None:
    f_0, f, weights = branches_of(seed, k=3)
    weights[:, 1] = 0
    f[:, 1] = NEG_INF
    rest = [0, 2]
    assert torch.equal(alignment.line(f_0, f, weights, 2.5), alignment.line(f_0, f[:, rest], weights[:, rest], 2.5))
    without = alignment.direction(f_0, f[:, rest], weights[:, rest])
    torch.testing.assert_close(alignment.direction(f_0, f, weights), without, rtol=1e-5, atol=1e-5)


def test_each_row_has_its_own_scale() -> None:
    f_0, f, weights = branches_of(1)
    s = torch.tensor([0.0, 1.0, 3.5])
    together = alignment.line(f_0, f, weights, s)
    for i in range(3):
        alone = alignment.line(f_0[i : i + 1], f[i : i + 1], weights[i : i + 1], float(s[i]))
        assert torch.equal(together[i : i + 1], alone)


@pytest.mark.parametrize("gamma", [-1.0, 0.0, 0.5, 2.0, 9.0])
def test_equals_transformers_classifier_free_guidance_up_to_a_constant_a_row(gamma: float) -> None:
    f_0, f, ones = one_branch(2)
    guidance = UnbatchedClassifierFreeGuidanceLogitsProcessor(1 + gamma, model=None)
    guidance.get_unconditional_logits = lambda _: f_0.unsqueeze(1)
    theirs = guidance(torch.zeros(len(f_0), 1, dtype=torch.long), f[:, 0])
    ours = alignment.line(f_0, f, ones, 1 + gamma)
    torch.testing.assert_close(alignment.policy(ours), alignment.policy(theirs), rtol=1e-4, atol=1e-4)
    difference = ours - theirs
    torch.testing.assert_close(difference, difference[:, :1].expand_as(difference), rtol=0, atol=1e-3)


def test_the_authors_example() -> None:
    f_1, f_0 = torch.tensor([[[-5.0, 10.0, 7.0, 0.0]]]), torch.tensor([[-5.0, 14.0, -4.0, 0.0]])
    ones = torch.ones(1, 1)
    z = alignment.line(f_0, f_1, ones, 3.0)
    allowed = alignment.support(f_0, f_1, ones, 0.8, 0.5)
    assert z.tolist() == [[-5.0, 2.0, 29.0, 0.0]]
    assert allowed.tolist() == [[False, True, False, False]]
    assert z.masked_fill(~allowed, NEG_INF).argmax().item() == 1


def test_half_precision_is_upcast_before_anything_is_combined() -> None:
    f_0, f, ones = one_branch(3)
    low_0, low = f_0.bfloat16(), f.bfloat16()
    up_0, up = low_0.float(), low.float()
    for s in (0.0, 1.0, 3.3):
        assert torch.equal(alignment.line(low_0, low, ones, s), alignment.line(up_0, up, ones, s))
    assert alignment.policy(low_0, 0.7).dtype == torch.float32
    assert torch.equal(alignment.divergence(low[:, 0], low_0), alignment.divergence(up[:, 0], up_0))
    assert torch.equal(alignment.support(low_0, low, ones, 0.8, 0.5), alignment.support(up_0, up, ones, 0.8, 0.5))
    scales = [alignment.divergence_scale(a, b, ones, 3.0, 0.2) for a, b in ((low_0, low), (up_0, up))]
    assert torch.equal(*scales)


# -- divergence --------------------------------------------------------------------------------------------------------


@examples
@given(seed=SEEDS, temperature=st.sampled_from([0.3, 1.0, 2.0]))
def test_divergence_is_the_definition_and_grows_along_the_line(seed: int, temperature: float) -> None:
    f_0, f, weights = branches_of(seed)
    previous = torch.full((len(f_0),), -1e-6)
    for s in (0.0, 0.1, 0.5, 1.0, 1.5, 3.0, 11.0):
        grown = alignment.divergence(alignment.line(f_0, f, weights, s), f_0, temperature)
        torch.testing.assert_close(grown.double(), kl(f_0, f, weights, s, temperature), rtol=1e-4, atol=1e-4)
        assert (grown >= previous - 1e-4).all()
        previous = grown
    assert (alignment.divergence(f_0, f_0, temperature) == 0).all()


def test_divergence_outside_the_references_support_is_infinite() -> None:
    f_0 = torch.tensor([[0.0, NEG_INF, 1.0]])
    assert alignment.divergence(torch.tensor([[0.0, 0.0, NEG_INF]]), f_0).item() == math.inf
    assert alignment.divergence(torch.tensor([[0.0, NEG_INF, NEG_INF]]), f_0).item() == pytest.approx(
        math.log(1 + math.e), rel=1e-6
    )


@examples
@given(
    seed=SEEDS,
    budget=st.floats(2**-10, 5.0, width=32),
    cap=st.floats(0.0, 11.0, width=32),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    magnitude=st.sampled_from([0.3, 1.0, 3.0]),
)
def test_the_budget_is_met_by_the_largest_scale(
    seed: int, budget: float, cap: float, temperature: float, magnitude: float
) -> None:
    f_0, f, weights = branches_of(seed, batch=5, magnitude=magnitude)
    s = alignment.divergence_scale(f_0, f, weights, cap, budget, temperature)
    met = kl(f_0, f, weights, s, temperature)
    at_cap = s == cap
    assert (s <= cap).all()
    assert (met <= budget + 1e-4).all()
    assert (at_cap | (met >= budget - 1e-4)).all()
    # The largest: whatever lies a little beyond breaks the budget, for the divergence grows with s.
    beyond = kl(f_0, f, weights, s * 1.05 + 1e-6, temperature)
    assert (at_cap | (beyond > budget - 1e-5)).all()
    realised = alignment.divergence(alignment.line(f_0, f, weights, s.float()), f_0, temperature)
    assert (realised <= budget + 1e-4).all()


@examples
@given(seed=SEEDS, magnitude=st.sampled_from([3.0, 1e4]), forbidden=st.sampled_from([0.0, 0.4]))
def test_rows_have_their_own_budgets_and_do_not_disturb_each_other(
    seed: int, magnitude: float, forbidden: float
) -> None:
    f_0, f, weights = branches_of(seed, batch=5, magnitude=magnitude, forbidden=forbidden)
    budget = torch.tensor([0.0, 0.05, 0.7, math.inf, 0.2])
    cap = torch.tensor([2.0, 3.0, 1.5, 4.0, 0.0])
    together = alignment.divergence_scale(f_0, f, weights, cap, budget)
    assert (together >= 0).all()
    assert together[3] == 4.0, "no budget, no constraint"
    assert together[4] == 0.0
    for i in range(5):
        row = slice(i, i + 1)
        alone = alignment.divergence_scale(f_0[row], f[row], weights[row], cap[row], budget[row])
        torch.testing.assert_close(together[row], alone, rtol=1e-9, atol=1e-12)


@examples
@given(seed=SEEDS)
def test_a_budget_of_nothing_leaves_the_reference(seed: int) -> None:
    f_0, f, weights = branches_of(seed)
    s = alignment.divergence_scale(f_0, f, weights, 3.0, 0.0)
    assert (s >= 0).all()
    assert (kl(f_0, f, weights, s) <= 1e-9).all()


def test_branches_that_say_nothing_leave_the_scale_at_its_cap() -> None:
    f_0, f, weights = branches_of(5)
    same = f_0.unsqueeze(1).expand_as(f)
    assert (alignment.divergence_scale(f_0, same, weights, 3.0, 0.0) == 3.0).all()


# -- support -----------------------------------------------------------------------------------------------------------


@examples
@given(
    seed=SEEDS,
    p=st.one_of(st.floats(2**-20, 1.0, exclude_max=True, width=32), st.sampled_from([1e-7, 0.5, 0.999999, 0.8])),
    temperature=st.sampled_from([0.5, 1.0, 5.0]),
    vocab=st.sampled_from([3, 40, 64, 65, 700]),
    ties=st.booleans(),
    forbidden=st.sampled_from([0.0, 0.5]),
)
def test_the_nucleus_is_what_a_full_sort_keeps(
    seed: int, p: float, temperature: float, vocab: int, ties: bool, forbidden: float
) -> None:
    logits, _, _ = branches_of(seed, batch=4, vocab=vocab, magnitude=3.0, forbidden=forbidden)
    if ties:
        logits = logits.round()
    mask = alignment.nucleus(logits, p, temperature)
    assert mask.any(-1).all()
    assert torch.equal(mask, full_sort_nucleus(logits, p, temperature))


@pytest.mark.parametrize(("magnitude", "p"), [(0.0, 0.8), (0.01, 0.3), (0.5, 0.99), (3.0, 0.9999)])
def test_the_nucleus_of_a_flat_policy_outgrows_the_first_head(magnitude: float, p: float) -> None:
    logits = torch.randn(2, 40_000, generator=torch.Generator().manual_seed(7)) * magnitude
    mask = alignment.nucleus(logits, p)
    assert mask.sum(-1).min() > 64
    assert torch.equal(mask, full_sort_nucleus(logits, p, 1.0))


def test_each_row_has_its_own_nucleus() -> None:
    logits, _, _ = branches_of(4, batch=4, vocab=300, magnitude=2.0, forbidden=0.1)
    p = torch.tensor([0.1, 0.8, 1.0, 0.999])
    temperature = torch.tensor([0.5, 1.0, 2.0, 3.0])
    mask = alignment.nucleus(logits, p, temperature)
    for i in (0, 1, 3):
        alone = full_sort_nucleus(logits[i : i + 1], float(p[i]), float(temperature[i]))
        assert torch.equal(mask[i : i + 1], alone)
    assert torch.equal(mask[2], torch.isfinite(logits[2])), "p = 1 keeps all that is possible"


@examples
@given(seed=SEEDS, p=st.floats(0.01, 0.99))
def test_the_support_is_the_nucleus_of_what_the_principles_make_of_the_model(seed: int, p: float) -> None:
    f_0, f, ones = one_branch(seed, magnitude=2.0)
    assert torch.equal(alignment.support(f_0, f, ones, p, 0.5), full_sort_nucleus(f[:, 0], p, 0.5))
    f_0, f, weights = branches_of(seed, magnitude=2.0)
    f_1 = alignment.line(f_0, f, weights, 1.0)
    assert torch.equal(alignment.support(f_0, f, weights, p, 0.7), full_sort_nucleus(f_1, p, 0.7))


# -- extremes ----------------------------------------------------------------------------------------------------------


@examples
@given(
    seed=SEEDS,
    magnitude=st.sampled_from([1.0, 1e4]),
    forbidden=st.sampled_from([0.0, 0.2, 0.9]),
    gamma=st.one_of(st.floats(-1, 10), st.sampled_from([-1.0, 0.0, 10.0])),
    temperature=st.sampled_from([0.1, 1.0]),
)
def test_nothing_becomes_nan(seed: int, magnitude: float, forbidden: float, gamma: float, temperature: float) -> None:
    f_0, f, weights = branches_of(seed, magnitude=magnitude, forbidden=forbidden)
    z = alignment.line(f_0, f, weights, 1 + gamma)
    s = alignment.divergence_scale(f_0, f, weights, 1 + gamma, 0.3, temperature)
    assert not z.isnan().any()
    assert not (z == math.inf).any()
    assert torch.isfinite(z[:, 0]).all()
    assert not alignment.direction(f_0, f, weights).isnan().any()
    assert not alignment.policy(z, temperature).isnan().any()
    assert torch.isfinite(alignment.divergence(z, f_0, temperature)).all()
    assert torch.isfinite(s).all()
    assert not alignment.line(f_0, f, weights, s).isnan().any()
    allowed = alignment.support(f_0, f, weights, 0.8, 0.5)
    assert allowed.any(-1).all()


def test_a_token_that_a_branch_forbids_stays_forbidden() -> None:
    f_0 = torch.tensor([[1.0, NEG_INF, 0.0, NEG_INF]])
    f_1 = torch.tensor([[[2.0, 1.0, NEG_INF, NEG_INF]]])
    ones = torch.ones(1, 1)
    for s in (0.5, 2.0, 5.0):
        assert torch.isneginf(alignment.line(f_0, f_1, ones, s)[0, 1:]).all()
    assert alignment.direction(f_0, f_1, ones).tolist() == [[1.0, math.inf, NEG_INF, 0.0]]
