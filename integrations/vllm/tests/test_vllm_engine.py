"""vLLM's engine: every token of a mixed load, against transformers in float32, teacher-forced.

The model is a small random one, whose weights are large, so that it matters what each row attends to. Not the plugin's
arithmetic but the formulas of its docstrings say what each token must be; what float32 rounds differently in the two is
allowed for.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

import numpy as np
import torch

from la_agents_vllm import alignment
from la_agents_vllm.draws import key_of, uniforms

REAL_MODEL = os.environ.get("LA_VLLM_MODEL", "")
NUM_ALIGNED, NUM_PLAIN = int(os.environ.get("LA_VLLM_ALIGNED", "40")), int(os.environ.get("LA_VLLM_PLAIN", "10"))
NUM_ABORTED = NUM_ALIGNED // 8
NUM_BLOCKS = 56
"""Of the cache: what the longest requests need, and little more."""
CLOSE = 5e-3
"""Nats and masses by which two float32 implementations may differ."""

pytestmark = [pytest.mark.engine, pytest.mark.timeout(3000)]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose heads and layers two workers can share."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = str(tmp_path_factory.mktemp("model"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1000,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.2,
        dtype="float32",
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def some_case(seed: int, *, is_aligned: bool) -> dict[str, Any]:
    """A request of any kind: short or longer than a chunk, any settings, its principles before or after the rest."""
    rng = random.Random(seed)

    def ids(number: int) -> list[int]:
        return [rng.randrange(10, 1000) for _ in range(number)]

    system, notes, question = list(range(10, 50)), ids(rng.choice([0, 0, 5, 60, 420])), ids(rng.randint(2, 12))
    chosen = [ids(rng.randint(2, 8)) for _ in range(rng.choice([1, 1, 2]))] if is_aligned else []
    is_first = rng.random() < 0.5
    temperature = rng.choice([0.0, 0.0, 0.7, 1.0]) if is_aligned else 0.0
    return {
        "reference": system + notes + question,
        "branches": [system + (one + notes if is_first else notes + one) + question for one in chosen],
        "weights": [1.0] if len(chosen) == 1 else [round(rng.uniform(0.3, 1), 2) for _ in chosen],
        "scale": rng.choice([0.5, 1.0, 1.5, 3.0]),
        "taper": rng.choice([0.0, 1.0]),
        "adaptive": rng.choice([0, 0, 1]),
        "support_p": rng.choice([1.0, 0.8]),
        "plausibility": rng.choice([0.0, 0.1]),
        "mask_temperature": 0.5,
        "fluency": rng.choice([None, None, 0.3]),
        "max_divergence": rng.choice([None, None, 0.5, 0.0]),
        "temperature": temperature,
        "top_p": rng.choice([1.0, 0.9]) if temperature else 1.0,
        "seed": seed,
        "max_tokens": rng.randint(4, 80),
    }


def arguments_of(case: dict[str, Any]) -> dict[str, Any]:
    names = ("weights", "scale", "taper", "adaptive", "support_p", "plausibility", "mask_temperature")
    found: dict[str, Any] = {f"la_{name}": case[name] for name in names}
    for name in ("fluency", "max_divergence"):
        if case[name] is not None:
            found[f"la_{name}"] = case[name]
    found["la_branches"] = [token for branch in case["branches"] for token in branch]
    found["la_lengths"] = [len(branch) for branch in case["branches"]]
    return found


async def run_load(options: dict[str, Any], seed: int) -> tuple[list[tuple[dict[str, Any], list[int]]], Any]:
    """Every request's case and tokens, and what is left in the engine afterwards."""
    from vllm import AsyncEngineArgs, SamplingParams
    from vllm.inputs import TokensPrompt
    from vllm.v1.engine.async_llm import AsyncLLM

    options = {
        "served_model_name": ["tested-aligned"],
        "dtype": "float32",
        "enforce_eager": True,
        "skip_tokenizer_init": True,
        "max_model_len": 1024,
        "max_num_seqs": 24,
        "max_num_batched_tokens": 256,  # below the longest prompts
        "block_size": 32,
        "kv_cache_memory_bytes": 400 * 2**20,
        "num_gpu_blocks_override": NUM_BLOCKS,
        "scheduler_cls": "la_agents_vllm.gang_scheduler",
        **options,
    }
    llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**options))
    try:
        rng = random.Random(seed)
        kinds = [True] * NUM_ALIGNED + [False] * NUM_PLAIN
        rng.shuffle(kinds)
        aborted = set(rng.sample(range(len(kinds)), NUM_ABORTED))
        results: list[tuple[dict[str, Any], list[int]]] = []

        async def one(i: int, is_aligned: bool) -> None:
            case, found = some_case(1000 * seed + i, is_aligned=is_aligned), []
            params = SamplingParams(
                temperature=case["temperature"],
                top_p=case["top_p"],
                seed=case["seed"],
                max_tokens=case["max_tokens"],
                detokenize=False,
                extra_args=arguments_of(case) if is_aligned else None,
            )
            await asyncio.sleep(rng.uniform(0, 1))
            priority = i % 2 if options.get("scheduling_policy") == "priority" else 0
            prompt = TokensPrompt(prompt_token_ids=case["reference"])
            async for out in llm.generate(prompt, params, request_id=f"r{i}", priority=priority):
                found = list(out.outputs[0].token_ids)
                if i in aborted and len(found) >= 3:
                    await llm.abort(f"r{i}")
                    break
            results.append((case, found))

        await asyncio.gather(*(one(i, kind) for i, kind in enumerate(kinds)))
        await asyncio.sleep(1)
        return results, _gauges()
    finally:
        llm.shutdown()


def _gauges() -> dict[str, float]:
    from prometheus_client import REGISTRY

    names = (
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:num_preemptions_total",
    )
    return {s.name: s.value for metric in REGISTRY.collect() for s in metric.samples if s.name in names}


def wrong_tokens(model: Any, case: dict[str, Any], tokens: list[int]) -> list[str]:
    """Places of an answer whose token is not what the formulas say."""
    with torch.inference_mode():
        rows = [case["reference"], *case["branches"]]
        logits = [
            model(input_ids=torch.tensor([row + tokens[:-1]]), logits_to_keep=len(tokens)).logits[0].float()
            for row in rows
        ]
    left, found = 3.0, []
    for place, token in enumerate(tokens):
        f_0 = logits[0][place][None]
        if not case["branches"]:
            if float(f_0.max() - f_0[0, token]) > CLOSE:
                found.append(f"plain {place}")
            continue
        branches, weights = torch.stack([f[place] for f in logits[1:]])[None], torch.tensor([case["weights"]])
        f_1 = alignment.line(f_0, branches, weights, 1.0)
        temperature = case["temperature"] or 1.0
        if case["temperature"]:
            uniform = float(uniforms(np.array([key_of(case["seed"])], np.uint64), np.array([place]))[0, 0])
            is_right = any(
                _is_drawn(_final(case, f_0, branches, weights, f_1, left, shift), token, temperature, case, uniform)
                for shift in (0.0, CLOSE, -CLOSE)
            )
        else:
            is_right = any(
                float(final.max() - final[0, token]) <= CLOSE
                for shift in (0.0, CLOSE, -CLOSE)
                for final in (_final(case, f_0, branches, weights, f_1, left, shift),)
            )
        if not is_right:
            found.append(f"{place} of {case}")
        if case["fluency"] is not None:
            is_greedy = torch.tensor([not case["temperature"]])
            cost = alignment.cost(f_1, torch.tensor([token]), torch.tensor([temperature]), is_greedy)
            left = min(3.0, max(0.0, left - float(cost)) + case["fluency"])
    return found


def _final(
    case: dict[str, Any], f_0: Any, branches: Any, weights: Any, f_1: Any, left: float, shift: float
) -> torch.Tensor:
    """What is decoded, its support a little larger or smaller by `shift`."""
    z, _ = alignment.pushed(f_0, branches, weights, case["scale"], case["taper"], adaptive=bool(case["adaptive"]))
    log_alpha = math.log(case["plausibility"]) if case["plausibility"] else -math.inf
    log_alpha = log_alpha if case["fluency"] is None else max(log_alpha, -left)
    allowed = alignment.plausible(f_1, log_alpha - shift)
    if case["support_p"] < 1:
        allowed &= alignment.nucleus(f_1, case["support_p"] + shift / 2, case["mask_temperature"])
    if case["max_divergence"] is None:
        return z.masked_fill(~allowed, -math.inf)
    return alignment.within_budget(f_0, z, allowed, case["max_divergence"], case["temperature"] or 1.0)[1]


def _is_drawn(final: Any, token: int, temperature: float, case: dict[str, Any], uniform: float) -> bool:
    for top_p in {case["top_p"], min(1.0, case["top_p"] + CLOSE), max(CLOSE, case["top_p"] - CLOSE)}:
        limit = None if top_p == 1 else torch.tensor([top_p])
        pi = alignment.sampled_from(final, limit, temperature)[0].double()
        mass = pi.cumsum(0)
        drawn = uniform * float(mass[-1])
        if float(mass[token] - pi[token]) - CLOSE <= drawn <= float(mass[token]) + CLOSE and pi[token] > 0:
            return True
    return False


LOADS: dict[str, dict[str, Any]] = {
    "fcfs": {},
    "priority": {"scheduling_policy": "priority"},
    "waiting for each step": {"async_scheduling": False},
    "tensor parallel": {"tensor_parallel_size": 2},
    # vLLM's worker for processors makes the buffers between stages where it traces the model, and only there.
    "pipeline parallel": {
        "pipeline_parallel_size": 2,
        "enforce_eager": False,
        "compilation_config": {"mode": 2, "backend": "eager"},
    },
    "a real model": {"model": REAL_MODEL, "num_gpu_blocks_override": 2 * NUM_BLOCKS},
}


@pytest.mark.parametrize("load", LOADS)
def test_every_token_is_the_one_that_the_formulas_say(load: str, model_folder: str) -> None:
    from transformers import AutoModelForCausalLM

    options = {"model": model_folder, **LOADS[load]}
    if not options["model"]:
        pytest.skip("LA_VLLM_MODEL names no model's folder")
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"  # else vLLM asks for processors of each worker's own
    results, left = asyncio.run(run_load(options, seed=list(LOADS).index(load)))
    assert len(results) == NUM_ALIGNED + NUM_PLAIN
    num_preemptions = left.pop("vllm:num_preemptions_total")
    assert left
    assert set(left.values()) == {0.0}, "something is left running, or in the cache"
    torch.set_flush_denormal(True)
    model = AutoModelForCausalLM.from_pretrained(options["model"], dtype=torch.float32).eval()
    checked = sum(len(tokens) for _, tokens in results)
    wrong = [place for case, tokens in results if tokens for place in wrong_tokens(model, case, tokens)]
    print(f"\n{load}: {checked} tokens, {len(results)} requests, {num_preemptions:.0f} preemptions, {len(wrong)} wrong")
    assert wrong == []
    assert checked > 5 * NUM_ALIGNED
