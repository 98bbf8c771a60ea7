"""Which tokens may be chosen."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from la_agents import alignment
from tests.unit.alignment.random_logits import SEEDS, branches_of, full_sort_nucleus, one_branch

examples = settings(max_examples=30, deadline=None)


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


@examples
@given(
    seed=SEEDS,
    alpha=st.sampled_from([0.0, 1e-6, 0.1, 0.5, 1.0]),
    forbidden=st.sampled_from([0.0, 0.5]),
    magnitude=st.sampled_from([0.0, 1.0, 30.0]),
)
def test_plausible_is_a_fraction_of_the_likeliest(seed: int, alpha: float, forbidden: float, magnitude: float) -> None:
    logits, _, _ = branches_of(seed, forbidden=forbidden, magnitude=magnitude)
    log_alpha = math.log(alpha) if alpha else -math.inf
    mask = alignment.plausible(logits, log_alpha)
    probabilities = torch.softmax(logits.double(), dim=-1)
    ratio = probabilities / probabilities.amax(-1, keepdim=True)
    clear = (ratio - alpha).abs() > 1e-5  # away from the edge, which float32 may put on either side
    assert torch.equal(mask[clear], (ratio >= alpha)[clear])
    assert not mask[torch.isneginf(logits)].any()
    assert mask.gather(-1, logits.argmax(-1, keepdim=True)).all()


def test_each_row_has_its_own_plausibility() -> None:
    logits = torch.tensor([[0.0, -1.0, -2.0, -5.0]]).expand(4, -1)
    mask = alignment.plausible(logits, torch.tensor([-math.inf, -4.0, -1.5, 0.0]))
    assert mask.sum(-1).tolist() == [4, 3, 2, 1]
