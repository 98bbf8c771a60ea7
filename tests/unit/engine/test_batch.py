"""An aligned step computed for the support's tokens alone is the one computed for the whole vocabulary."""

from __future__ import annotations

import math
from collections.abc import Sequence as SequenceOf
from typing import Any

import pytest
import torch
from torch import Tensor

from la_agents.engine.batch import Batch, describe
from la_agents.engine.masks import Masks
from la_agents.engine.sequence import Sequence
from la_agents.requests import Alignment, Request, Sampling

VOCAB = 1024
KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "strong": {"strength": 8.0},
    "prompting": {"strength": 0.0},
    "below prompting": {"strength": -0.7},
    "one token": {"plausibility": 1.0},
    "nearly all tokens": {"plausibility": 1e-6},
    "linear": {"method": "linear"},
    "linear, plausible": {"method": "linear", "support": "plausible"},
    "nucleus, tapered": {"support": "nucleus", "push": "tapered"},
    "nucleus of one token": {"method": "linear", "principle_top_p": 1e-3},
    "budget": {"max_divergence": 1.5},
    "linear, budget": {"method": "linear", "max_divergence": 0.8},
    "budget below the support's cost": {"max_divergence": 0.01},
    "no budget at all": {"max_divergence": 0.0},
    "fluency": {"fluency": 0.2},
    "linear, fluency": {"method": "linear", "fluency": 0.2},
}


def batch_of(alignments: SequenceOf[dict[str, Any]], temperature: float, weights: tuple[float, ...]) -> Batch:
    members, first = [], 0
    for settings in alignments:
        request = Request(
            reference=(1,),
            branches=((2,),) * len(weights),
            weights=weights,
            alignment=Alignment(**settings),
            sampling=Sampling(temperature=temperature),
        )
        size = len(weights) + 1
        members.append((Sequence(request), tuple(range(first, first + size))))
        first += size
    return describe(members, torch.device("cpu"))


def logits_of(num_sequences: int, num_branches: int, seed: int, vocab: int = VOCAB) -> Tensor:
    """Peaked as a model's are, with a few tokens at stake; of each sequence the reference first."""
    random = torch.Generator().manual_seed(seed)
    base = 2 * torch.randn(num_sequences, 1, vocab, generator=random)
    peaks = torch.randint(0, vocab, (num_sequences, 1, 12), generator=random)
    base.scatter_(-1, peaks, 7 + torch.randn(num_sequences, 1, 12, generator=random))
    return base + 0.8 * torch.randn(num_sequences, num_branches + 1, vocab, generator=random)


def compare(batch: Batch, logits: Tensor) -> None:
    inputs = batch.inputs()
    # A grammar that forbids nothing: with one, the whole vocabulary is looked at.
    free = Masks(torch.zeros(len(logits), VOCAB, dtype=torch.bool), torch.zeros(len(logits), dtype=torch.bool))
    few, all_ = (batch.align(logits.flatten(0, 1), logits[:, 0], masks, inputs) for masks in (None, free))
    assert all_.ids is None
    tokens = all_.likeliest()
    torch.testing.assert_close(few.whole(), all_.whole(), rtol=1e-4, atol=1e-4)
    facts = [step.facts(tokens, batch.weights) for step in (few, all_)]
    torch.testing.assert_close(*facts, rtol=1e-3, atol=1e-4)
    chosen = few.likeliest().unsqueeze(1)  # where two are as likely but for rounding, either
    torch.testing.assert_close(all_.whole().gather(1, chosen), all_.whole().amax(dim=1, keepdim=True))


@pytest.mark.parametrize("weights", [(1.0,), (0.6, 0.9)])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("kind", KINDS)
def test_few_tokens_and_all_of_them_give_one_policy(kind: str, temperature: float, weights: tuple[float, ...]) -> None:
    for seed in range(5):
        batch = batch_of([KINDS[kind]] * 3, temperature, weights)
        compare(batch, logits_of(3, len(weights), seed))


@pytest.mark.parametrize("seed", range(12))
def test_kinds_mixed_in_a_batch(seed: int) -> None:
    settings = [*KINDS.values()]
    chosen = [settings[(5 * seed + 3 * i) % len(settings)] for i in range(4)]
    compare(batch_of(chosen, 0.0, (1.0,)), logits_of(4, 1, seed))


def test_what_few_tokens_hold_is_computed_for_few() -> None:
    vocab = 8 * VOCAB  # plausible tokens are found by whole blocks of 64
    logits = logits_of(2, 1, 0, vocab)
    for kind in ("default", "budget", "linear", "fluency"):
        batch = batch_of([KINDS[kind]] * 2, 0.0, (1.0,))
        step = batch.align(logits.flatten(0, 1), logits[:, 0], None, batch.inputs())
        assert step.ids is not None, kind
        assert step.final.shape[1] < vocab / 4, kind


def test_of_equally_likely_tokens_the_first_is_taken() -> None:
    logits = torch.full((1, 2, VOCAB), -20.0)
    logits[..., [700, 30, 31, 512]] = 5.0
    batch = batch_of([{}], 0.0, (1.0,))
    step = batch.align(logits.flatten(0, 1), logits[:, 0], None, batch.inputs())
    assert step.ids is not None
    assert step.likeliest().tolist() == [30]


def test_impossible_tokens_stay_impossible_and_nan_shows() -> None:
    batch = batch_of([{}, {}, {}], 0.0, (1.0,))
    logits = logits_of(3, 1, 1)
    best = logits[0, 1].argmax()
    logits[0, 0, best] = -math.inf  # the reference rules out what the principles want most
    logits[1, :, 500:] = -math.inf
    logits[2, 1, 3] = math.nan
    step = batch.align(logits.flatten(0, 1), logits[:, 0], None, batch.inputs())
    tokens = step.likeliest()
    assert tokens[0] != best
    assert tokens[1] < 500
    divergence = step.facts(tokens, batch.weights)[:, 0]
    assert torch.isfinite(divergence[:2]).all()
    assert math.isnan(divergence[2])
