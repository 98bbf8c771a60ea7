"""What is decoded stays within its budget of the unaligned policy, support and push included."""

from __future__ import annotations

import math

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import log_softmax

from la_agents import alignment
from tests.unit.alignment.random_logits import SEEDS, branches_of, kl

examples = settings(max_examples=30, deadline=None)


def divergence_of(logits: Tensor, f_0: Tensor, temperature: float | Tensor) -> Tensor:
    """KL in float64, written down apart from the library's."""
    t = torch.as_tensor(temperature, dtype=torch.float64).expand(len(f_0)).unsqueeze(1)
    log_pi, log_pi_0 = log_softmax(logits.double() / t, -1), log_softmax(f_0.double() / t, -1)
    return torch.where(torch.isneginf(log_pi), 0.0, log_pi.exp() * (log_pi - log_pi_0)).sum(-1)


PUSHES = st.sampled_from([(0.0, False), (1.0, False), (0.5, True)])
SUPPORTS = st.sampled_from(["all", "nucleus", "plausible"])


def allowed_by(support: str, f_1: Tensor) -> Tensor:
    if support == "nucleus":
        return alignment.nucleus(f_1, 0.8, 0.5)
    return alignment.plausible(f_1, math.log(0.1) if support == "plausible" else -math.inf)


@examples
@given(
    seed=SEEDS,
    budget=st.floats(2**-10, 5.0, width=32),
    gamma=st.floats(-1.0, 10.0, width=32),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    magnitude=st.sampled_from([0.3, 1.0, 3.0]),
    push=PUSHES,
    support=SUPPORTS,
)
@example(seed=315, budget=2**-10, gamma=9.125, temperature=0.5, magnitude=0.3, push=(0.0, False), support="all")
def test_what_is_decoded_meets_the_budget_and_goes_as_far_as_it_allows(
    seed: int, budget: float, gamma: float, temperature: float, magnitude: float, push: tuple[float, bool], support: str
) -> None:
    f_0, f, weights = branches_of(seed, batch=5, magnitude=magnitude)
    z, _ = alignment.pushed(f_0, f, weights, 1 + gamma, push[0], adaptive=push[1])
    allowed = allowed_by(support, alignment.prompted(f_0, f, weights))
    t, logits = alignment.within_budget(f_0, z, allowed, budget, temperature)
    met = divergence_of(logits, f_0, temperature)
    whole = t == 1
    assert ((t >= 0) & (t <= 1)).all()
    assert (met <= budget + 1e-4).all()
    assert (whole | (met >= budget - 1e-4)).all(), "it stopped short"
    # The support holds wherever the budget pays for it.
    dropped = ~(torch.isneginf(logits) == ~allowed).all(-1)
    alone = divergence_of(f_0.masked_fill(~allowed, -math.inf), f_0, temperature)
    assert (alone[dropped] > budget - 1e-4).all()


@examples
@given(seed=SEEDS, push=PUSHES, support=SUPPORTS, temperature=st.sampled_from([0.3, 1.0]), k=st.integers(1, 3))
@example(seed=17, push=(0.0, False), support="nucleus", temperature=0.3, k=2)
def test_a_budget_of_nothing_is_the_unaligned_policy(
    seed: int, push: tuple[float, bool], support: str, temperature: float, k: int
) -> None:
    f_0, f, weights = branches_of(seed, k=k)
    z, _ = alignment.pushed(f_0, f, weights, 4.0, push[0], adaptive=push[1])
    allowed = allowed_by(support, alignment.prompted(f_0, f, weights))
    _, logits = alignment.within_budget(f_0, z, allowed, 0.0, temperature)
    assert torch.equal(logits, f_0)


@examples
@given(seed=SEEDS, support=SUPPORTS)
def test_without_a_bound_all_of_the_push_is_decoded(seed: int, support: str) -> None:
    f_0, f, weights = branches_of(seed)
    z, _ = alignment.pushed(f_0, f, weights, 3.0, 1.0)
    allowed = allowed_by(support, alignment.prompted(f_0, f, weights))
    t, logits = alignment.within_budget(f_0, z, allowed, math.inf)
    assert (t == 1).all()
    assert torch.equal(logits, z.masked_fill(~allowed, -math.inf))


@examples
@given(seed=SEEDS, magnitude=st.sampled_from([3.0, 1e4]), forbidden=st.sampled_from([0.0, 0.4]))
def test_rows_have_their_own_budgets_and_do_not_disturb_each_other(
    seed: int, magnitude: float, forbidden: float
) -> None:
    f_0, f, weights = branches_of(seed, batch=5, magnitude=magnitude, forbidden=forbidden)
    budget = torch.tensor([0.0, 0.05, 0.7, math.inf, 0.2])
    z, _ = alignment.pushed(f_0, f, weights, torch.tensor([2.0, 3.0, 1.5, 4.0, 0.0]))
    allowed = alignment.plausible(alignment.prompted(f_0, f, weights), math.log(0.1))
    together, logits = alignment.within_budget(f_0, z, allowed, budget)
    assert not logits.isnan().any()
    assert together[3] == 1.0, "no budget, no constraint"
    for i in range(5):
        row = slice(i, i + 1)
        alone, own = alignment.within_budget(f_0[row], z[row], allowed[row], budget[row])
        torch.testing.assert_close(together[row], alone, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(logits[row], own, rtol=1e-5, atol=1e-5)


def test_branches_that_say_nothing_are_within_any_budget() -> None:
    f_0, f, weights = branches_of(5)
    same = f_0.unsqueeze(1).expand_as(f)
    z, _ = alignment.pushed(f_0, same, weights, 3.0)
    _, logits = alignment.within_budget(f_0, z, torch.ones_like(f_0, dtype=torch.bool), 0.1)
    torch.testing.assert_close(logits, f_0, rtol=1e-5, atol=1e-5)


@examples
@given(seed=SEEDS, budget=st.floats(2**-8, 3.0, width=32), cap=st.floats(0.0, 11.0, width=32))
def test_on_the_line_it_is_the_largest_scale(seed: int, budget: float, cap: float) -> None:
    f_0, f, weights = branches_of(seed, magnitude=1.0)
    everywhere = torch.ones_like(f_0, dtype=torch.bool)
    t, _ = alignment.within_budget(f_0, alignment.line(f_0, f, weights, cap), everywhere, budget)
    s = t.double() * cap
    assert (kl(f_0, f, weights, s) <= budget + 1e-4).all()
    beyond = kl(f_0, f, weights, s * 1.05 + 1e-6)
    assert ((t == 1) | (beyond > budget - 1e-5)).all()


@examples
@given(
    seed=SEEDS,
    budget=st.sampled_from([1e-3, 0.05, 1.0]),
    temperature=st.sampled_from([1e-10, 1e-8, 1e-6, 1e-4, 5e-3]),
    support=SUPPORTS,
)
def test_a_budget_holds_where_the_policy_is_almost_one_token(
    seed: int, budget: float, temperature: float, support: str
) -> None:
    f_0, f, weights = branches_of(seed, batch=5, magnitude=3.0)
    allowed = allowed_by(support, alignment.prompted(f_0, f, weights))
    z, _ = alignment.pushed(f_0, f, weights, 3.0, 0.0, adaptive=False)
    _, logits = alignment.within_budget(f_0, z, allowed, budget, temperature)
    assert (alignment.divergence(logits, f_0, temperature) <= budget * 1.001 + 2e-4).all()
