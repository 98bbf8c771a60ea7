"""The engine's greedy answers equal, token for token, separate full forwards combined by the paper's formula."""

from __future__ import annotations

import functools
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from la_agents import guidance
from la_agents.engine.engine import Engine
from la_agents.engine.scheduler import Limits
from la_agents.requests import Alignment, Request, Sampling
from tests.tiny import FAMILIES, pristine_model, tiny_model

MAX_TOKENS = 12


def full_forward(family: str, ids: tuple[int, ...]) -> Tensor:
    """Logits after the last token, without any cache."""
    with torch.no_grad():
        return pristine_model(family).model(torch.tensor([ids]), use_cache=False).logits[0, -1].float()


@functools.cache
def expected_answers(family: str) -> list[list[int]]:
    requests = mixed_requests(tiny_model(family).model.config.vocab_size)
    return [expected_tokens(family, request) for request in requests]


def expected_tokens(family: str, request: Request) -> list[int]:
    """The methods step by step: full forwards, one after the other, a full sort for the paper's nucleus."""
    eos, tokens = tiny_model(family).eos_token_ids, ()
    settings = request.alignment
    gamma = settings.strength or 0.0
    for _ in range(request.sampling.max_tokens):
        f_0 = full_forward(family, request.reference + tokens)
        z = f_0
        if request.branches:
            f = [full_forward(family, branch + tokens) for branch in request.branches]
            f_1 = f_0 + sum(w * (f_i - f_0) for w, f_i in zip(request.weights, f, strict=True))
            if settings.method == "tapered":
                log_p_0, log_p_1 = torch.log_softmax(f_0, -1), torch.log_softmax(f_1, -1)
                plausibility = (log_p_1 - log_p_1.max()).exp()
                z = log_p_1 + gamma * plausibility * (log_p_1 - log_p_0)
                z[plausibility < 0.1] = float("-inf")
            else:
                z = f_0 + (1 + gamma) * (f_1 - f_0)
                p = torch.softmax(f_1 / 0.5, dim=-1)
                order = p.sort(descending=True, stable=True)
                dropped = order.indices[(order.values.cumsum(0) - order.values) >= settings.support_p]
                z[dropped] = float("-inf")
        token = int(z.argmax())
        if token in eos:
            break
        tokens += (token,)
    return list(tokens)


def make_request(
    seed: int,
    *,
    vocab: int,
    num_branches: int,
    strength: float = 1.0,
    shared: int = 0,
    method: guidance.Rule = "linear",
) -> Request:
    rng = random.Random(seed)

    def prompt(length: int) -> tuple[int, ...]:
        return tuple(rng.randrange(10, vocab) for _ in range(length))

    start = prompt(shared)
    return Request(
        reference=start + prompt(rng.randrange(3, 40)),
        branches=tuple(start + prompt(rng.randrange(3, 40)) for _ in range(num_branches)),
        weights=tuple(rng.choice([0.5, 1.0, 1.5]) for _ in range(num_branches))
        if num_branches > 1
        else (1.0,) * num_branches,
        sampling=Sampling(max_tokens=MAX_TOKENS),
        alignment=Alignment(method=method, strength=strength),
    )


def mixed_requests(vocab: int) -> list[Request]:
    """Unaligned, joint and summed sequences, with and without a common prefix long enough to be shared."""
    shapes = [
        (0, 1.0, 0),
        (1, 1.0, 0),
        (1, 2.5, 50),
        (3, 0.5, 70),
        (1, -1.0, 0),
        (2, 1.5, 0),
        (1, 0.0, 40),
        (0, 1.0, 90),
        (1, 2.0, 50, "tapered"),
        (2, 4.0, 0, "tapered"),
    ]
    return [
        make_request(seed, vocab=vocab, num_branches=k, strength=strength, shared=shared, method=(*method, "linear")[0])
        for seed, (k, strength, shared, *method) in enumerate(shapes)
    ]


WAYS = {
    "sharing prefixes": {"share_prefixes": True, "prefix_cache_bytes": 2**24},
    "sharing nothing": {"share_prefixes": False, "prefix_cache_bytes": 0},
    "static shapes": {"static_shapes": True},  # what CUDA graphs replay
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_separate_full_forwards(family: str, way: str) -> None:
    loaded = tiny_model(family)
    requests = mixed_requests(loaded.model.config.vocab_size)
    expected = expected_answers(family)
    limits = Limits(prefill_budget=32, max_rows=9, max_positions=loaded.max_positions)
    with Engine(loaded, limits, **WAYS[way]) as engine:
        alone = [[r.token_id for r in engine.complete(request).records] for request in requests]
        with ThreadPoolExecutor(len(requests)) as pool:
            # More than fit at once: sequences join as others leave.
            together = [[r.token_id for r in c.records] for c in pool.map(engine.complete, requests)]
        assert engine.stats().num_rows == 0
    assert alone == expected
    assert together == expected
    assert any(len(set(tokens)) > 3 for tokens in expected), "degenerate answers would prove nothing"
