"""Aligned decoding inside vLLM beside plain decoding there, and beside the local engine: `make bench-vllm`.

Each part prints lines of its own; the machine should be idle, for both run on the same cores. In ten minutes:

    make bench-vllm BENCH_VLLM="--kinds plain aligned --tokens 32" BENCH_LOCAL="--users 16 --tokens 32"
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

PRINCIPLE = "Talk like a pirate: say arr, ye and matey."
TAPERED = {"la_scale": 3.0, "la_taper": 1.0, "la_plausibility": 0.1}
KINDS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "aligned": TAPERED,
    "aligned, with records": {**TAPERED, "la_record": 1},
    "aligned, nucleus of 0.8": {"la_scale": 1.5, "la_support_p": 0.8},
}
"""The plugin's arguments beside the branch."""


def prompts_of(tokenizer: Any, number: int) -> tuple[list[int], list[int]]:
    """A question's prompt without and with the principle."""
    question = {"role": "user", "content": f"Tell me about the number {number}."}

    def encode(system: str) -> list[int]:
        turns = [{"role": "system", "content": system}, question]
        return list(tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False))

    return encode("You are a helpful assistant."), encode(f"You are a helpful assistant. {PRINCIPLE}")


def medians(kinds: list[str], rounds: int, run: Callable[[str], float]) -> dict[str, float]:
    """Tokens per second of each kind, measured by turns after a round that warms up."""
    taken = [{kind: run(kind) for kind in kinds} for _ in range(rounds + 1)][1:]
    return {kind: statistics.median(one[kind] for one in taken) for kind in kinds}


# -- vLLM --------------------------------------------------------------------------------------------------------------


def time_steps(worker: Any) -> None:
    """In vLLM's worker: note how long each step's forward and the plugin's processor take."""
    import time

    runner = worker.model_runner
    runner.noted = {"layers": [], "head": [], "processor": []}

    def timed(kind: str, function: Any, num_rows: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            since = time.perf_counter()
            found = function(*args, **kwargs)
            runner.noted[kind].append((num_rows(args, found), time.perf_counter() - since))
            return found

        return call

    runner._model_forward = timed("layers", runner._model_forward, lambda _, found: len(found))
    runner.model.compute_logits = timed("head", runner.model.compute_logits, lambda _, found: len(found))
    for processor in runner.input_batch.logitsprocs.non_argmax_invariant:
        if type(processor).__name__ == "AlignmentProcessor":
            processor.apply = timed("processor", processor.apply, lambda args, _: len(args[0]))


def steps_of(worker: Any) -> dict[str, list[tuple[int, float]]]:
    """In vLLM's worker: what was noted since it was asked last, as rows and seconds."""
    noted = worker.model_runner.noted
    found = {kind: list(taken) for kind, taken in noted.items()}
    for taken in noted.values():
        taken.clear()
    return found


def measure_vllm(options: argparse.Namespace) -> None:
    """Tokens per second of each kind, and the processor's share of a step."""
    os.environ |= {
        "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }  # functions go to the worker
    os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "0-1", "VLLM_CPU_NUM_OF_RESERVED_CPU": "0"}
    from transformers import AutoTokenizer
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    llm = LLM(
        options.model,
        served_model_name=["measured-aligned"],
        dtype=options.dtype,
        enforce_eager=True,
        max_model_len=512,
        max_num_seqs=2 * max(options.users),
        block_size=32,
        kv_cache_memory_bytes=3 * 2**30,
        scheduler_cls="la_agents_vllm.gang_scheduler",
        logprobs_mode="processed_logits",
        max_logprobs=64,
    )
    llm.collective_rpc(time_steps)
    noted: dict[str, dict[str, list[tuple[int, float]]]] = {}

    def run(kind: str, users: int) -> float:
        prompts = [prompts_of(tokenizer, number) for number in range(users)]
        arguments = KINDS[kind]
        asked = [
            SamplingParams(
                temperature=0,
                max_tokens=options.tokens,
                ignore_eos=True,
                detokenize=False,
                logprobs=4 if "la_record" in (arguments or {}) else None,
                extra_args=arguments
                and {**arguments, "la_branches": aligned, "la_lengths": [len(aligned)], "la_weights": [1.0]},
            )
            for _, aligned in prompts
        ]
        llm.reset_prefix_cache()
        since = time.perf_counter()
        found = llm.generate([TokensPrompt(prompt_token_ids=plain) for plain, _ in prompts], asked, use_tqdm=False)
        seconds = time.perf_counter() - since
        (noted[kind],) = llm.collective_rpc(steps_of)
        return sum(len(one.outputs[0].token_ids) for one in found) / seconds

    for users in options.users:
        speeds = medians(options.kinds, options.rounds, lambda kind: run(kind, users))  # noqa: B023  # called at once
        for kind, speed in speeds.items():
            of_plain = f", {speed / speeds['plain']:.2f} of plain" if "plain" in speeds else ""
            print(f"vllm, {users} users, {kind}: {speed:.0f} tokens/s{of_plain}", flush=True)
            if kind == "plain":
                continue
            # Steps of the last round that decode one token of every row.
            layers, head, processor = (
                1e3 * statistics.median(seconds for rows, seconds in taken if rows == 2 * users)
                for taken in noted[kind].values()
            )
            share = processor / (layers + head)
            print(f"    forward of {2 * users} rows {layers + head:.0f} ms, processor {processor:.1f} ms: {share:.1%}")


# -- the local engine --------------------------------------------------------------------------------------------------


def measure_local(options: argparse.Namespace) -> None:
    """Tokens per second of the local engine, plain and aligned."""
    from la_agents.engine.engine import Engine
    from la_agents.engine.scheduler import Limits
    from la_agents.models import load_model
    from la_agents.requests import Alignment, Request, Sampling

    loaded = load_model(options.model, dtype=options.dtype, quantize=None, end_token_ids=())

    def run(kind: str, users: int) -> float:
        requests = [
            Request(
                reference=tuple(plain),
                branches=(tuple(aligned),) if kind == "aligned" else (),
                weights=(1.0,) if kind == "aligned" else (),
                alignment=Alignment(method="tapered", strength=TAPERED["la_scale"] - 1),
                sampling=Sampling(temperature=0.0, max_tokens=options.tokens),
                salt=None,
            )
            for plain, aligned in (prompts_of(loaded.tokenizer, number) for number in range(users))
        ]
        since = time.perf_counter()
        completions = [generation.completion for generation in [engine.submit(request) for request in requests]]
        return sum(len(one.records) for one in completions) / (time.perf_counter() - since)

    with Engine(loaded, Limits(max_rows=2 * max(options.users))) as engine:
        for users in options.users:
            speeds = medians(["plain", "aligned"], options.rounds, lambda kind: run(kind, users))  # noqa: B023
            for kind, speed in speeds.items():
                ratio = speed / speeds["plain"]
                print(f"local, {users} users, {kind}: {speed:.0f} tokens/s, {ratio:.2f} of plain", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=["vllm", "local"])
    parser.add_argument("model", help="the model's folder")
    parser.add_argument("--users", type=int, nargs="+", default=[16, 64, 128])
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of requests, in vLLM")
    chosen = parser.parse_args()
    print("load", *(f"{one:.1f}" for one in os.getloadavg()))
    (measure_vllm if chosen.engine == "vllm" else measure_local)(chosen)
