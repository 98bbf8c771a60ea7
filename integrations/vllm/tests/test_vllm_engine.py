"""vLLM's engine with a model: every token of a mixed load, against transformers in float32, teacher-forced.

Not the plugin's arithmetic but the formulas of its docstrings say what each token must be; what float32 rounds
differently in the two is allowed for.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

import numpy as np
import torch

from la_agents_vllm import alignment
from la_agents_vllm.draws import key_of, uniforms

MODEL = os.environ.get("LA_VLLM_MODEL", "")
NUM_ALIGNED, NUM_PLAIN = int(os.environ.get("LA_VLLM_ALIGNED", "40")), int(os.environ.get("LA_VLLM_PLAIN", "10"))
NUM_ABORTED = NUM_ALIGNED // 8
CLOSE = 5e-3
"""Nats and masses by which two float32 implementations may differ."""

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(not Path(MODEL, "config.json").exists(), reason="LA_VLLM_MODEL names no model's folder"),
]

PRINCIPLES = ("Talk like a pirate.", "Answer briefly.", "Be enthusiastic!", "Answer in formal English.")
QUESTIONS = ("What is the capital of France?", "How do I boil an egg?", "Tell me a story.", "Why is the sky blue?")
WORDS = ("river", "stone", "cloud", "lamp", "garden", "winter", "copper", "violet", "market", "window")


def some_case(tokenizer: Any, seed: int, *, is_aligned: bool) -> dict[str, Any]:
    """A request of any kind: short or longer than a chunk, any settings."""
    rng = random.Random(seed)
    notes = " ".join(rng.choice(WORDS) for _ in range(rng.choice([0, 0, 5, 40, 300])))
    question = f"Notes: {notes}\n\n{rng.choice(QUESTIONS)}"

    def encode(system: str) -> list[int]:
        turns = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        return list(tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False))

    base = "You are a helpful assistant."
    chosen = rng.sample(PRINCIPLES, rng.choice([1, 1, 2])) if is_aligned else []
    temperature = rng.choice([0.0, 0.0, 0.7, 1.0]) if is_aligned else 0.0
    return {
        "reference": encode(base),
        "branches": [encode(f"{base} {principle}") for principle in chosen],
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
        "max_tokens": rng.randint(4, 32),
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


async def run_load(engine_options: dict[str, Any], seed: int) -> tuple[list[tuple[dict[str, Any], list[int]]], Any]:
    """Every request's case and tokens, and what is left in the engine afterwards."""
    from vllm import AsyncEngineArgs, SamplingParams
    from vllm.inputs import TokensPrompt
    from vllm.v1.engine.async_llm import AsyncLLM

    options = {
        "model": MODEL,
        "served_model_name": ["tested-aligned"],
        "dtype": "float32",
        "enforce_eager": True,
        "max_model_len": 1024,
        "max_num_seqs": 24,
        "max_num_batched_tokens": 256,  # below the longest prompts
        "block_size": 32,
        "kv_cache_memory_bytes": 100 * 32 * 3 * 64 * 2 * 4 * 30,  # some hundred blocks: few rows fit at once
        "scheduler_cls": "la_agents_vllm.gang_scheduler",
    }
    llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**{**options, **engine_options}))
    try:
        tokenizer = await _tokenizer(llm)
        rng = random.Random(seed)
        kinds = [True] * NUM_ALIGNED + [False] * NUM_PLAIN
        rng.shuffle(kinds)
        aborted = set(rng.sample(range(len(kinds)), NUM_ABORTED))
        is_priority = options | engine_options
        results: list[tuple[dict[str, Any], list[int]]] = []

        async def one(i: int, is_aligned: bool) -> None:
            case, found = some_case(tokenizer, 1000 * seed + i, is_aligned=is_aligned), []
            params = SamplingParams(
                temperature=case["temperature"],
                top_p=case["top_p"],
                seed=case["seed"],
                max_tokens=case["max_tokens"],
                extra_args=arguments_of(case) if is_aligned else None,
            )
            await asyncio.sleep(rng.uniform(0, 5))
            priority = i % 2 if is_priority.get("scheduling_policy") == "priority" else 0
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


async def _tokenizer(llm: Any) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MODEL)


def _gauges() -> dict[str, float]:
    from prometheus_client import REGISTRY

    names = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
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
    "tensor parallel": {"tensor_parallel_size": 3},  # divides the bundled model's nine heads
    "pipeline parallel": {"pipeline_parallel_size": 2},
    "waiting for each step": {"async_scheduling": False},
}


@pytest.mark.parametrize("load", LOADS)
def test_every_token_is_the_one_that_the_formulas_say(load: str) -> None:
    from transformers import AutoModelForCausalLM

    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"  # else vLLM asks for processors of each worker's own
    results, gauges = asyncio.run(run_load(LOADS[load], seed=list(LOADS).index(load)))
    assert len(results) == NUM_ALIGNED + NUM_PLAIN
    assert set(gauges.values()) == {0.0}, "something is left running, or in the cache"
    torch.set_flush_denormal(True)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    checked = sum(len(tokens) for _, tokens in results)
    wrong = [place for case, tokens in results if tokens for place in wrong_tokens(model, case, tokens)]
    print(f"\n{load}: {checked} tokens of {len(results)} requests checked, {len(wrong)} wrong")
    assert wrong == []
    assert checked > 5 * NUM_ALIGNED
