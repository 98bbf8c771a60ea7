"""The other rules, against straightforward transcriptions of their own formulas and of transformers' code."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import UnbatchedClassifierFreeGuidanceLogitsProcessor
from transformers.modeling_outputs import CausalLMOutput

from la_agents import alignment, guidance
from la_agents.errors import ConfigurationError
from la_agents.requests import Alignment

VOCAB = 61
OWN = {method: Alignment(method=method) for method in guidance.PRESETS}


def logits_of(seed: int, rows: int = 2, scale: float = 3.0) -> Tensor:
    return torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def ours(settings_: Alignment, f_0: Tensor, f_1: Tensor) -> Tensor:
    weights = torch.ones(len(f_0), 1)
    return alignment.policy(alignment.line(f_0, f_1.unsqueeze(1), weights, settings_.scale))


def amulet(
    f_0: Tensor, f_1: Tensor, *, alpha: float = 2.0, eta: float = 10.0, lambda_: float = 2.0, iterations: int = 60
) -> Tensor:
    """The online learning problem of one token, iteration by iteration over the vocabulary, as published."""
    base, first = torch.log_softmax(f_0, dim=-1), torch.log_softmax(f_1, dim=-1)
    log_pi, utilities = first, torch.zeros_like(first)
    for t in range(1, iterations + 1):
        utilities = utilities + alpha * (log_pi - base)
        numerator = lambda_ * first + utilities / t + log_pi / (eta * t)
        log_pi = torch.log_softmax(numerator / (lambda_ + 1 / (eta * t)), dim=-1)
    return log_pi


def context_steering(f_0: Tensor, f_1: Tensor, influence: float, temperature: float = 1.0) -> Tensor:
    with_context, without = (torch.log_softmax(f / temperature, dim=-1) for f in (f_1, f_0))
    return torch.log_softmax(with_context + influence * (with_context - without), dim=-1)


class Unconditional:
    """A model that says the same logits whatever it is asked."""

    def __init__(self, logits: Tensor) -> None:
        self._logits = logits

    def __call__(self, input_ids: Tensor, **_: object) -> CausalLMOutput:
        return CausalLMOutput(logits=self._logits.unsqueeze(1))


@pytest.mark.parametrize("seed", range(5))
def test_amulet_is_its_sixty_iterations_over_the_vocabulary(seed: int) -> None:
    f_0, f_1 = logits_of(seed), logits_of(seed + 100)
    torch.testing.assert_close(
        ours(Alignment(method="amulet"), f_0, f_1).double(), amulet(f_0, f_1), rtol=1e-4, atol=1e-4
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    strength=st.floats(0, 1.2),
    eta=st.floats(0.1, 30),
    lambda_=st.floats(1, 4),
    iterations=st.integers(0, 80),
)
def test_amulets_scale_is_its_iterations_for_all_settings(
    seed: int, strength: float, eta: float, lambda_: float, iterations: int
) -> None:
    f_0, f_1 = logits_of(seed, scale=1.0), logits_of(seed + 1, scale=1.0)
    chosen = {"alpha": 2 * strength, "eta": eta, "lambda_": lambda_, "iterations": iterations}
    moved = f_0 + guidance.amulet_scale(**chosen) * (f_1 - f_0)
    torch.testing.assert_close(torch.log_softmax(moved, dim=-1), amulet(f_0, f_1, **chosen), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("strength", [-1.0, -0.5, 0.0, 0.5, 3.0])
def test_cfg_is_transformers_processor(strength: float) -> None:
    f_0, f_1 = logits_of(1), logits_of(2)
    processor = UnbatchedClassifierFreeGuidanceLogitsProcessor(1 + strength, Unconditional(f_0))
    expected = torch.log_softmax(processor(torch.zeros(2, 3, dtype=torch.long), f_1), dim=-1)
    got = ours(Alignment(method="cfg", strength=strength), f_0, f_1)
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.6, 1.0])
@pytest.mark.parametrize("strength", [-0.5, 0.0, 2.0])
def test_context_steering_is_its_formula_at_every_temperature(strength: float, temperature: float) -> None:
    f_0, f_1 = logits_of(3), logits_of(4)
    scale = Alignment(method="context-steering", strength=strength).scale
    line = alignment.line(f_0, f_1.unsqueeze(1), torch.ones(2, 1), scale)
    expected = context_steering(f_0, f_1, strength, temperature)
    torch.testing.assert_close(alignment.policy(line, temperature).double(), expected, rtol=1e-4, atol=1e-4)


def test_strength_0_is_prompting_for_every_rule() -> None:
    assert {guidance.scale(rule, 0.0) for rule in guidance.PRESETS} == {1.0}


def test_each_method_has_a_support_a_push_and_a_strength_of_its_own() -> None:
    assert {m: (a.chosen_support, a.chosen_push, a.chosen_strength, a.support_p) for m, a in OWN.items()} == {
        "tapered": ("plausible", "tapered", 2.0, 1.0),
        "linear": ("nucleus", "uniform", 0.5, 0.8),
        "amulet": ("all", "uniform", 1.0, 1.0),
        "cfg": ("all", "uniform", 1.0, 1.0),
        "context-steering": ("all", "uniform", 1.0, 1.0),
    }
    assert Alignment().method == "tapered"


def test_what_is_asked_for_goes_before_the_methods_own() -> None:
    assert Alignment(method="cfg", principle_top_p=0.5).support_p == 0.5
    assert Alignment(method="tapered", principle_top_p=0.5).chosen_support == "nucleus"
    assert Alignment(method="tapered", mask_temperature=1.0).support_p == 0.8
    assert Alignment(method="linear", plausibility=0.2).log_plausibility == pytest.approx(math.log(0.2))
    assert Alignment(method="linear", plausibility=0.2).support_p == 1.0
    assert Alignment(support="all").log_plausibility == -math.inf
    assert Alignment(method="linear", taper=0.5).kappa == 0.5
    assert Alignment(push="uniform").kappa == Alignment(push="adaptive").kappa == 0.0
    assert Alignment(push="adaptive", taper=2.0).kappa == 2.0


@pytest.mark.parametrize(
    ("name", "settings_"),
    [
        ("principle_top_p", {"support": "plausible", "principle_top_p": 0.5}),
        ("mask_temperature", {"support": "all", "mask_temperature": 0.5}),
        ("plausibility", {"support": "nucleus", "plausibility": 0.5}),
        ("plausibility", {"principle_top_p": 0.5, "plausibility": 0.5}),
        ("taper", {"push": "uniform", "taper": 1.0}),
        ("support", {"support": "most"}),
        ("push", {"push": "hard"}),
    ],
)
def test_a_number_that_nothing_would_look_at_is_refused(name: str, settings_: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"Expected {name} "):
        Alignment(**settings_)


def test_what_a_rule_cannot_mean_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"tapered, linear, amulet, cfg, context-steering.*'quadratic'"):
        Alignment(method="quadratic")
    for strength in (-0.5, 2.5, float("nan")):
        with pytest.raises(ConfigurationError, match="strength of amulet"):
            Alignment(method="amulet", strength=strength)
