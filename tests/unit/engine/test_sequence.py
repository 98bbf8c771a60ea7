"""Numbers of a request: what is out of range is refused by name, what is in range gives a policy that is one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from la_agents import ChatLinearAlignment, LinearAlignmentLLM
from la_agents.calls.builder import CallBuilder
from la_agents.engine.sampler import Sampler
from la_agents.engine.sequence import Sequence
from la_agents.errors import ConfigurationError
from la_agents.requests import Alignment, Request, Sampling
from la_agents.requests.checks import MAX_FACTOR, MIN_TEMPERATURE
from tests.tiny import tiny_model

NEVER = [math.nan, math.inf, -math.inf, 10**400, -(10**400), 1e300, "1", None, True, [1.0], 1j]
TINY = [5e-324, 1e-45, 1e-39, 1e-38, 1e-11]
OUT_OF_RANGE: dict[str, list[Any]] = {
    "temperature": [*NEVER, *TINY, -1e-39, -1],
    "top_p": [*NEVER, 0, 0.0, -0.1, 1.0000001],
    "max_tokens": [*NEVER[:3], *NEVER[4:], 0, -1, 1.0],
    "seed": [*NEVER[:3], *NEVER[4:7], True, -1, -(2**63), 0.5],
    "strength": [*NEVER, -1.0000001, 1.1e6, 1e39],
    "mask_temperature": [*NEVER, *TINY, 0, 0.0, -1],
    "principle_top_p": [*NEVER, 0, -1, 1.1],
    "plausibility": [*NEVER, -0.1, 1.1],
    "taper": [*NEVER, -0.1, 1.1e6],
    "fluency": [*NEVER, -0.1, 1.1e6],
    "max_divergence": [*NEVER[:5], *NEVER[6:], -1e-9],
}
CASES = [(name, value) for name, values in OUT_OF_RANGE.items() for value in values]
OPTIONAL = {
    "seed",
    "strength",
    "plausibility",
    "taper",
    "fluency",
    "mask_temperature",
    "principle_top_p",
    "max_divergence",
}


@pytest.mark.parametrize(("name", "value"), [case for case in CASES if case[1] is not None or case[0] not in OPTIONAL])
def test_a_number_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    kind = Sampling if name in Sampling.__slots__ else Alignment
    with pytest.raises(ConfigurationError, match=f"Expected {name} "):
        kind(**{name: value})


@pytest.mark.parametrize("face", [ChatLinearAlignment, LinearAlignmentLLM])
@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 1e-39), ("seed", -3), ("strength", 1e39), ("top_p", math.nan)]
)
def test_the_faces_refuse_them_before_any_work(face: Any, name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        face(model="/no/such/model", **{name: value})
    with pytest.raises(ConfigurationError, match=name):
        CallBuilder.of(face(model="/no/such/model"), {name: value}, query="Hello")


@pytest.mark.parametrize("weight", [math.nan, math.inf, -0.1, 1e39, 10**400, "1", None])
def test_a_weight_out_of_range_is_refused(weight: Any) -> None:
    with pytest.raises(ConfigurationError, match="weight"):
        Request(reference=(1,), branches=((1,),), weights=(weight,))


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf, 10**400, "1"])
def test_a_timeout_out_of_range_is_refused(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        Request(reference=(1,), timeout=timeout)


def edges(low: float, high: float) -> st.SearchStrategy[float]:
    """Any number of a range, the two ends often."""
    return st.sampled_from([low, high]) | st.floats(low, high)


@settings(max_examples=150, deadline=None)
@given(
    temperature=st.just(0.0) | edges(MIN_TEMPERATURE, MAX_FACTOR),
    top_p=edges(5e-324, 1.0),
    strength=edges(-1.0, MAX_FACTOR),
    weight=edges(0.0, MAX_FACTOR),
    mask_temperature=st.none() | edges(MIN_TEMPERATURE, MAX_FACTOR),
    principle_top_p=st.none() | edges(5e-324, 1.0),
    max_divergence=st.none() | edges(0.0, 1e300),
    seed=st.integers(0, 2**200),
    num_branches=st.integers(0, 2),
)
def test_whatever_is_in_range_draws_a_likely_token_and_finite_facts(
    temperature: float, top_p: float, strength: float, weight: float, seed: int, num_branches: int, **rest: float | None
) -> None:
    request = Request(
        reference=(1,),
        branches=((1,),) * num_branches,
        weights=(weight,) * num_branches,
        sampling=Sampling(temperature=temperature, top_p=top_p, seed=seed),
        alignment=Alignment(strength=strength, **rest),
    )
    logits = torch.randn(3, 64, generator=torch.Generator().manual_seed(seed % 2**63)) * 30
    rows = list(range(1 + num_branches))
    (record,) = Sampler().sample(logits[rows], [(Sequence(request), rows)])
    assert all(math.isfinite(x) for x in (record.divergence, record.scale, *record.contributions))
    if temperature <= 1e-3 and num_branches == 0:
        assert record.token_id == int(logits[0].argmax()), "almost greedy"


def test_a_seed_of_any_size_is_a_seed_of_its_own() -> None:
    draws = {
        Sequence(Request(reference=(1,), sampling=Sampling(seed=seed))).next_uniform() for seed in (0, 1, 2**64, 2**200)
    }
    assert len(draws) == 4


def test_the_smallest_temperature_answers_as_greedy_does_where_nothing_is_aligned() -> None:
    answers = [
        ChatLinearAlignment(model=tiny_model("llama"), max_tokens=8, temperature=t, seed=1)
        .invoke("What should I cook tonight?")
        .text
        for t in (0.0, MIN_TEMPERATURE)
    ]
    assert answers[0] == answers[1]
