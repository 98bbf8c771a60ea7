"""The line of policies: what must hold for any logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import UnbatchedClassifierFreeGuidanceLogitsProcessor

from la_agents import alignment
from tests.unit.alignment.random_logits import NEG_INF, SEEDS, branches_of, kl, one_branch

examples = settings(max_examples=30, deadline=None)


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
    pushed = [alignment.pushed(a, b, ones, 3.0, 1.0)[0] for a, b in ((low_0, low), (up_0, up))]
    assert torch.equal(*pushed)


@examples
@given(seed=SEEDS, k=st.integers(1, 3))
def test_prompting_alone_is_the_line_at_1(seed: int, k: int) -> None:
    f_0, f, weights = branches_of(seed, k=k, forbidden=0.1)
    assert torch.equal(alignment.prompted(f_0, f, weights), alignment.line(f_0, f, weights, 1.0))
    assert torch.equal(alignment.prompted(f_0, f[:, :1], torch.ones(len(f), 1)), f[:, 0])


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


def test_a_token_that_a_branch_forbids_stays_forbidden() -> None:
    f_0 = torch.tensor([[1.0, NEG_INF, 0.0, NEG_INF]])
    f_1 = torch.tensor([[[2.0, 1.0, NEG_INF, NEG_INF]]])
    ones = torch.ones(1, 1)
    for s in (0.5, 2.0, 5.0):
        assert torch.isneginf(alignment.line(f_0, f_1, ones, s)[0, 1:]).all()
    assert alignment.direction(f_0, f_1, ones).tolist() == [[1.0, math.inf, NEG_INF, 0.0]]
