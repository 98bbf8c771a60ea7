"""How far each token is moved."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from la_agents import alignment
from tests.unit.alignment.random_logits import NEG_INF, SEEDS, branches_of, one_branch

examples = settings(max_examples=30, deadline=None)


def by_hand(f_0: Tensor, f_1: Tensor, gamma: float, kappa: float, adaptive: bool) -> Tensor:
    """The formula in float64, token by token."""
    log_p_0, log_p_1 = (torch.log_softmax(f.double(), dim=-1) for f in (f_0, f_1))
    p_0, p_1 = log_p_0.exp(), log_p_1.exp()
    if adaptive:
        m = (p_0 + p_1) / 2
        divergence = 0.5 * (p_1 * (p_1 / m).log() + p_0 * (p_0 / m).log()).sum(-1, keepdim=True)
        gamma = gamma * (divergence / math.log(2)).clamp_min(0).sqrt()
    return log_p_1 + gamma * (p_1 / p_1.amax(-1, keepdim=True)) ** kappa * (log_p_1 - log_p_0)


@examples
@given(
    seed=SEEDS,
    gamma=st.floats(0.01, 8.0),
    kappa=st.sampled_from([0.25, 1.0, 3.0]),
    adaptive=st.booleans(),
    k=st.integers(1, 3),
)
def test_the_push_is_its_formula(seed: int, gamma: float, kappa: float, adaptive: bool, k: int) -> None:
    f_0, f, weights = branches_of(seed, k=k, magnitude=2.0)
    z, _ = alignment.pushed(f_0, f, weights, 1 + gamma, kappa, adaptive=adaptive)
    f_1 = alignment.line(f_0.double(), f.double(), weights.double(), 1.0)
    expected = by_hand(f_0, f_1, gamma, kappa, adaptive)
    torch.testing.assert_close(z.double(), expected, rtol=1e-3, atol=1e-3)


@examples
@given(seed=SEEDS, gamma=st.floats(-1.0, 8.0), kappa=st.sampled_from([0.0, 1.0]))
def test_at_and_below_prompting_and_without_a_taper_it_is_the_line(seed: int, gamma: float, kappa: float) -> None:
    f_0, f, weights = branches_of(seed)
    if gamma > 0:
        kappa = 0.0
    z, step = alignment.pushed(f_0, f, weights, 1 + gamma, kappa)
    assert torch.equal(z, alignment.line(f_0, f, weights, 1 + gamma))
    torch.testing.assert_close(step, torch.full_like(step, gamma), rtol=1e-5, atol=1e-5)


@examples
@given(seed=SEEDS, shift=st.floats(-50, 50), k=st.integers(1, 2))
def test_a_constant_added_to_a_branch_changes_no_policy(seed: int, shift: float, k: int) -> None:
    f_0, f, weights = branches_of(seed, k=k)
    moved = f.clone()
    moved[:, 0] += shift
    one, two = (alignment.pushed(f_0, each, weights, 3.0, 1.0, adaptive=True)[0] for each in (f, moved))
    torch.testing.assert_close(alignment.policy(one), alignment.policy(two), rtol=1e-3, atol=1e-3)


def test_each_row_has_its_own_push() -> None:
    f_0, f, weights = branches_of(3, batch=5)
    scale = torch.tensor([3.0, 1.0, 0.0, 2.0, 3.0])
    taper = torch.tensor([1.0, 1.0, 0.5, 0.0, 0.5])
    adaptive = torch.tensor([False, True, False, False, True])
    together, gammas = alignment.pushed(f_0, f, weights, scale, taper, adaptive=adaptive)
    for i in range(5):
        row = slice(i, i + 1)
        alone, gamma = alignment.pushed(
            f_0[row], f[row], weights[row], float(scale[i]), float(taper[i]), adaptive=bool(adaptive[i])
        )
        torch.testing.assert_close(together[row], alone, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(gammas[row], gamma)


def test_reach_is_what_each_token_was_moved_by() -> None:
    f_0, f, ones = one_branch(4, batch=1, vocab=8, magnitude=1.0)
    z, gamma = alignment.pushed(f_0, f, ones, 3.0, 1.0)
    log_p_0, log_p_1 = alignment.policy(f_0), alignment.policy(f[:, 0])
    for token in range(8):
        at = alignment.reach(f[:, 0], torch.tensor([token]), gamma, 1.0)
        direction = log_p_1[0, token] - log_p_0[0, token]
        assert float(z[0, token]) == pytest.approx(float(log_p_0[0, token] + at * direction), abs=1e-4)
    assert alignment.reach(f[:, 0], f[:, 0].argmax(-1), gamma, 1.0).item() == pytest.approx(3.0)
    assert alignment.reach(f[:, 0], torch.tensor([0]), gamma, 0.0).item() == pytest.approx(3.0)


@examples
@given(seed=SEEDS)
def test_conflict_is_nothing_between_the_same_and_one_between_strangers(seed: int) -> None:
    f_0, f, _ = one_branch(seed)
    p_0, p_1 = alignment.policy(f_0), alignment.policy(f[:, 0])
    assert alignment.conflict(p_0, p_0).max() < 1e-3
    between = alignment.conflict(p_1, p_0)
    assert ((between >= 0) & (between <= 1)).all()
    strangers = torch.tensor([[0.0, NEG_INF]]), torch.tensor([[NEG_INF, 0.0]])
    assert alignment.conflict(*strangers).item() == pytest.approx(1.0)


@examples
@given(
    seed=SEEDS,
    magnitude=st.sampled_from([1.0, 1e4]),
    forbidden=st.sampled_from([0.0, 0.2, 0.9]),
    gamma=st.sampled_from([-1.0, 0.0, 0.3, 10.0]),
    kappa=st.sampled_from([0.0, 1.0]),
    adaptive=st.booleans(),
)
def test_nothing_becomes_nan(
    seed: int, magnitude: float, forbidden: float, gamma: float, kappa: float, adaptive: bool
) -> None:
    f_0, f, weights = branches_of(seed, magnitude=magnitude, forbidden=forbidden)
    weights += 0.1
    z, _ = alignment.pushed(f_0, f, weights, 1 + gamma, kappa, adaptive=adaptive)
    assert not z.isnan().any()
    assert not (z == math.inf).any()
    assert torch.isfinite(z[:, 0]).all()
    if gamma > 0:
        impossible = torch.isneginf(f_0) | torch.isneginf(f).any(1)
        assert torch.isneginf(z[impossible]).all()
