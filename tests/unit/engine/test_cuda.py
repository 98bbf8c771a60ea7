"""The engine on a GPU: exact beside full forwards, in graphs as without, and its memory comes back."""

from __future__ import annotations

import copy
import dataclasses
import gc
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from la_agents.engine.attention import AttentionMetadata, slot_attention
from la_agents.engine.engine import Engine
from la_agents.engine.sampler import Sampler
from la_agents.engine.scheduler import Limits
from la_agents.engine.sequence import Sequence
from la_agents.models import LoadedModel
from la_agents.requests import Alignment, Request, Sampling
from tests.tiny import FAMILIES, tiny_model
from tests.unit.engine.test_engine_equality import expected_answers, make_request, mixed_requests

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that runs CUDA")


def on_gpu(family: str, dtype: torch.dtype = torch.float32) -> LoadedModel:
    loaded = tiny_model(family)
    model = copy.deepcopy(loaded.model).to("cuda", dtype)
    return dataclasses.replace(loaded, model=model, device=torch.device("cuda", 0), dtype=dtype)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_separate_full_forwards(family: str) -> None:
    loaded = on_gpu(family)
    requests = mixed_requests(loaded.model.config.vocab_size)
    limits = Limits(prefill_budget=32, max_rows=9, max_positions=loaded.max_positions)
    with Engine(loaded, limits) as engine:
        alone = [[r.token_id for r in engine.complete(request).records] for request in requests]
        with ThreadPoolExecutor(len(requests)) as pool:
            together = [[r.token_id for r in c.records] for c in pool.map(engine.complete, requests)]
    assert alone == expected_answers(family)
    assert together == expected_answers(family)


@pytest.mark.parametrize("family", FAMILIES)
def test_sixteen_bits_choose_what_is_likeliest_within_their_rounding(family: str) -> None:
    loaded = on_gpu(family, torch.bfloat16)
    exact = copy.deepcopy(loaded.model).float()
    exact.set_attn_implementation("eager")
    requests = [make_request(seed, vocab=exact.config.vocab_size, num_branches=seed % 2) for seed in range(6)]
    with Engine(loaded) as engine, ThreadPoolExecutor(len(requests)) as pool:
        answers = [[r.token_id for r in c.records] for c in pool.map(engine.complete, requests)]

    def logits(ids: tuple[int, ...]) -> Tensor:
        with torch.no_grad():
            return exact(torch.tensor([ids], device="cuda"), use_cache=False).logits[0].float()

    for request, answer in zip(requests, answers, strict=True):
        if request.branches:
            continue  # the line doubles rounding, and the nucleus jumps
        rows = logits((*request.reference, *answer))[len(request.reference) - 1 : -1]
        chosen = rows.gather(1, torch.tensor(answer, device="cuda")[:, None])[:, 0]
        assert ((rows.amax(dim=-1) - chosen) < 0.05 * rows.std()).all()


@pytest.mark.parametrize("window", [None, 16])
@pytest.mark.parametrize("n", [1, 5])
def test_flash_attention_is_the_masked_one(n: int, window: int | None) -> None:
    generator = torch.Generator("cuda").manual_seed(0)
    heads, kv_heads, dim, lengths, starts = 8, 2, 64, [300, 9, 77], [512, 4, 40]
    pool = [torch.randn(1024, kv_heads, dim, generator=generator, device="cuda") for _ in range(2)]
    query = torch.randn(3, heads, n, dim, generator=generator, device="cuda")
    positions = torch.tensor([[length - n + i for i in range(n)] for length in lengths], device="cuda")
    slots = positions + torch.tensor(starts, device="cuda")[:, None]

    def attend(dtype: torch.dtype) -> Tensor:
        metadata = AttentionMetadata(positions, slots, 512)
        key, value = (x.to(dtype) for x in pool)
        out, _ = slot_attention(
            nn.Identity(), query.to(dtype), key, value, None, metadata=metadata, sliding_window=window
        )
        return out.float()

    torch.testing.assert_close(attend(torch.bfloat16), attend(torch.float32), atol=0.03, rtol=0.03)


SETTINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"method": "linear", "strength": 1.5}, {}),
    ({"max_divergence": 0.2}, {}),
    ({"fluency": 0.3}, {}),
    ({}, {"temperature": 0.8, "top_p": 0.9, "seed": 3}),
    ({"push": "adaptive", "strength": 2.0}, {"temperature": 1.3, "seed": 4}),
    ({"max_divergence": 0.5, "method": "linear"}, {"temperature": 0.7, "top_p": 0.5, "seed": 5}),
]


@pytest.mark.parametrize("chosen", [[0], [1], [2], [3], [4], [5], [6], [0] * 5, list(range(7))])
@pytest.mark.parametrize("branches", [0, 1, 3])
def test_the_sampler_chooses_as_on_a_cpu(chosen: list[int], branches: int) -> None:
    check_sampler(chosen, branches, vocab=4096)


@pytest.mark.parametrize("chosen", [[0], [2], [4], [0] * 5, list(range(7))])
@pytest.mark.parametrize("branches", [1, 3])
def test_compiled_kernels_choose_as_a_cpu(chosen: list[int], branches: int, caplog: pytest.LogCaptureFixture) -> None:
    Sampler().prepare(32768, torch.device("cuda"))
    check_sampler(chosen, branches, vocab=32768)
    assert not [record for record in caplog.records if "compiler failed" in record.message]


def check_sampler(chosen: list[int], branches: int, *, vocab: int) -> None:
    def sequences() -> list[tuple[Sequence, tuple[int, ...]]]:
        made = []
        for i, number in enumerate(chosen):
            how, sampling = SETTINGS[number]
            request = Request(
                reference=(1,),
                branches=((2,),) * branches,
                weights=(1.0,) * branches,
                sampling=Sampling(**sampling),
                alignment=Alignment(**how) if branches else Alignment(),
                list_candidates=i == 1,
            )
            made.append((Sequence(request), tuple(range(i * (1 + branches), (i + 1) * (1 + branches)))))
        return made

    here, there = sequences(), sequences()
    cpu, gpu = Sampler(), Sampler()
    static = torch.zeros(len(chosen) * (1 + branches), vocab, device="cuda")
    generator = torch.Generator().manual_seed(0)
    for step in range(6):  # the third captures a graph, the rest replay it
        base = 2 * torch.randn(len(chosen), 1, vocab, generator=generator)
        logits = (base + 0.7 * torch.randn(len(chosen), 1 + branches, vocab, generator=generator)).flatten(0, 1)
        static.copy_(logits)
        expected = cpu.sample(logits, here)
        records = gpu.finish(gpu.start(static, there, stays=True))
        for a, b in zip(expected, records, strict=True):
            assert (a.token_id, a.reference_id) == (b.token_id, b.reference_id), step
            assert b.divergence == pytest.approx(a.divergence, abs=2e-4, rel=1e-3)
            assert b.scale == pytest.approx(a.scale, abs=2e-3)
            assert b.contributions == pytest.approx(a.contributions, abs=2e-3, rel=2e-3)
            assert [c.token_id for c in a.candidates] == [c.token_id for c in b.candidates]


def test_a_graph_is_captured_while_other_threads_use_the_gpu() -> None:
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            torch.randn(64, 64, device="cuda").sum().item()

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        with Engine(on_gpu("llama")) as engine:
            requests = [make_request(seed, vocab=100, num_branches=1) for seed in range(3)]
            assert all(engine.complete(request).records for request in requests)
            assert engine.stats().num_failed == 0
    finally:
        stop.set()
        thread.join()


def test_memory_comes_back() -> None:
    with Engine(on_gpu("llama", torch.bfloat16), Limits(max_cached_tokens=4096)) as engine:
        engine.complete(make_request(0, vocab=100, num_branches=1))  # libraries keep what they work with
    del engine
    gc.collect()
    before = torch.cuda.memory_allocated()
    loaded = on_gpu("llama", torch.bfloat16)
    with Engine(loaded, Limits(max_cached_tokens=4096)) as engine:
        draws = random.Random(0)
        for seed in range(20):
            engine.complete(make_request(draws.randrange(1000), vocab=100, num_branches=seed % 3))
        held = torch.cuda.memory_allocated()
        for seed in range(20):
            engine.complete(make_request(draws.randrange(1000), vocab=100, num_branches=seed % 3))
        assert torch.cuda.memory_allocated() <= held + 2**20
    del engine, loaded
    gc.collect()
    assert torch.cuda.memory_allocated() <= before + 2**24
