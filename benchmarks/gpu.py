"""`python -m benchmarks.gpu`: aligned decoding beside plain decoding on a GPU, on random weights of given shapes.

Speed does not depend on what weights say, so no checkpoint is needed. The rows are explained in benchmarks/README.md.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks import peers
from benchmarks.timing import Clock, Run, Summary, alternate, ratio, to_run
from la_agents.engine.engine import Engine
from la_agents.engine.scheduler import Limits
from la_agents.models import LoadedModel
from la_agents.requests import Alignment, Request, Sampling

SHAPES = {
    "tiny": {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 4096},
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 128256},
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 128256},
}  # fmt: skip
"""Llama 3.2 1B and Llama 3 8B."""
PROMPT_TOKENS = 100
LONG_PROMPT_TOKENS = 6000
console = Console(stderr=True)


def random_model(shapes: str, device: str, dtype: torch.dtype) -> LoadedModel:
    """A Llama of these shapes with random weights, and a tokenizer of numbered words."""
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPES[shapes], max_position_embeddings=16384, rope_theta=500000.0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    words = {f"t{i}": i for i in range(config.vocab_size)}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="t0")))
    return LoadedModel(
        name=shapes,
        model=model.eval().requires_grad_(False),
        tokenizer=tokenizer,
        eos_token_ids=frozenset(),
        max_positions=config.max_position_embeddings,
        device=next(model.parameters()).device,
        dtype=dtype,
    )


class Bench:
    """Requests of random tokens, and an engine without a prefix cache: no repetition finds what one before computed."""

    def __init__(self, loaded: LoadedModel, limits: Limits, num_tokens: int) -> None:
        self.engine = Engine(loaded, limits, prefix_cache_bytes=0)
        self.vocab_size = loaded.model.config.vocab_size
        self.num_tokens = num_tokens
        self._loaded = loaded

    def plain_model(self) -> LlamaForCausalLM:
        """The same shapes once more, as transformers makes them."""
        return random_model(self._loaded.name, str(self._loaded.device), self._loaded.dtype).model

    def request(
        self, seed: int, *, aligned: bool, length: int = PROMPT_TOKENS, shared: int = 0, num_tokens: int | None = None,
        sampling: dict[str, Any] | None = None, **alignment: Any,
    ) -> Request:  # fmt: skip
        """`shared` tokens at the start of the principle branch are the reference's own."""
        draws = random.Random(seed)
        reference = tuple(draws.choices(range(self.vocab_size), k=length))
        branch = (*reference[:shared], *draws.choices(range(self.vocab_size), k=length + 20 - shared))
        return Request(
            reference=reference,
            branches=(branch,) if aligned else (),
            weights=(1.0,) if aligned else (),
            sampling=Sampling(max_tokens=num_tokens or self.num_tokens, stop_repetition=False, **(sampling or {})),
            alignment=Alignment(**alignment),
        )

    def serve(self, requests: Sequence[Request]) -> list[Clock]:
        """All of them together, each read by a thread of its own."""
        clocks = [Clock() for _ in requests]
        generations = self.engine.submit_all(requests)

        def read(i: int) -> None:
            for _ in generations[i]:
                clocks[i].tick()

        threads = [threading.Thread(target=read, args=(i,)) for i in range(len(requests))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return clocks

    def users(self, number: int, **settings: Any) -> Callable[[], Run]:
        requests = [self.request(i, **settings) for i in range(number)]
        return lambda: to_run(self.serve(requests))


def cases(bench: Bench, number: int) -> dict[str, Callable[[], Run]]:
    return {
        "unaligned": bench.users(number, aligned=False),
        "aligned": bench.users(number, aligned=True),
        "aligned, linear": bench.users(number, aligned=True, method="linear", strength=1.0),
        "aligned, budget 0.5": bench.users(number, aligned=True, max_divergence=0.5),
        "aligned, sampled": bench.users(number, aligned=True, sampling={"temperature": 0.8, "top_p": 0.9, "seed": 1}),
    }


def others(bench: Bench) -> dict[str, Callable[[], Run]]:
    """One user with transformers as it comes, on weights of its own: our engine has changed its model's attention."""
    request, num = bench.request(0, aligned=True), bench.num_tokens
    reference, principle = request.reference, request.branches[0]
    model = bench.plain_model()
    return {
        "unaligned": bench.users(1, aligned=False),
        "plain (transformers)": lambda: to_run([peers.plain(model, reference, num)]),
        "cfg (transformers)": lambda: to_run([peers.cfg(model, reference, principle, num)]),
        "authors": lambda: to_run([peers.authors(model, reference, principle, num)]),
    }


def long_prompt(bench: Bench) -> dict[str, Callable[[], Run]]:
    settings: dict[str, Any] = {"length": LONG_PROMPT_TOKENS, "num_tokens": 2}
    return {
        "unaligned": bench.users(1, aligned=False, **settings),
        "aligned, placement user": bench.users(1, aligned=True, shared=LONG_PROMPT_TOKENS - 50, **settings),
        "aligned, placement system": bench.users(1, aligned=True, shared=20, **settings),
    }


def table(title: str, runs: dict[str, list[Run]], value: Callable[[Run], float], unit: str) -> Table:
    out = Table("case", f"{unit} (min-max)", "x unaligned (min-max)", "tokens/s", title=title)
    for name, own in runs.items():
        rate = Summary.of(run.tokens_per_second for run in own)
        out.add_row(
            name, str(Summary.of(map(value, own))), str(ratio(own, runs["unaligned"], value)), f"{rate.median:.0f}"
        )
    return out


def shares(bench: Bench, number: int) -> dict[str, float]:
    """Milliseconds of a step by phase while `number` aligned users decode."""
    names = ("prefill_seconds", "decode_seconds", "sampler_seconds", "rest_seconds", "num_steps")
    before = bench.engine.stats()
    bench.users(number, aligned=True)()
    after = bench.engine.stats()
    *seconds, steps = (getattr(after, name) - getattr(before, name) for name in names)
    return {name.split("_")[0]: 1000 * value / steps for name, value in zip(names, seconds, strict=False)}


def main(
    shapes: Annotated[str, typer.Option(help=f"One of {', '.join(SHAPES)}.")] = "8b",
    users: Annotated[str, typer.Option(help="Comma-separated numbers of users at once.")] = "1,16,64",
    repetitions: Annotated[int, typer.Option(min=1)] = 3,
    tokens: Annotated[int, typer.Option(min=4, help="Tokens an answer.")] = 128,
    device: Annotated[str, typer.Option(help="A torch device.")] = "cuda",
    only: Annotated[str, typer.Option(help="Cases, with ; between them, and 'long', 'others'; all by default.")] = "",
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all runs there.")] = None,
) -> None:
    """Run the tables and print them."""
    if shapes not in SHAPES:
        msg = f"Expected shapes to be one of {', '.join(SHAPES)}, got {shapes!r}."
        raise typer.BadParameter(msg)
    numbers = [int(number) for number in users.split(",")]
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    loaded = random_model(shapes, device, dtype)
    bench = Bench(loaded, Limits(max_rows=2 * max(numbers), prefill_budget=2048), tokens)
    name = torch.cuda.get_device_name(loaded.device) if device.startswith("cuda") else device
    results: dict[str, Any] = {"device": name, "torch": torch.__version__, "shapes": shapes}
    out = Console(width=120)
    num_bytes = sum(p.nbytes for p in loaded.model.parameters())
    out.print(f"{name}, torch {torch.__version__}, {shapes}: {num_bytes / 1e9:.1f} GB of weights")
    wanted = {name.strip() for name in only.split(";")} if only else None
    with Progress(console=console) as progress:
        for number in numbers:
            chosen = {k: v for k, v in cases(bench, number).items() if wanted is None or k in wanted}
            runs = results[f"{number} users"] = alternate(chosen, repetitions, progress, f"{number} users")
            title = f"Users together: {number}"
            out.print(table(title, runs, lambda run: 1000 * run.steady, "ms a token while all decode"))
            out.print(table(title, runs, lambda run: 1000 * run.per_token, "ms a token, others' prompts included"))
            results[f"{number} users, ms a step"] = shares(bench, number)
            out.print(f"ms a step, {number} aligned: {results[f'{number} users, ms a step']}")
        if wanted is None or "long" in wanted:
            runs = results["long prompt"] = alternate(long_prompt(bench), repetitions, progress, "long prompt")
            title = f"Prompt of {LONG_PROMPT_TOKENS} tokens"
            out.print(table(title, runs, lambda run: 1000 * run.first, "ms to the first token"))
        if wanted is None or "others" in wanted:
            runs = results["others"] = alternate(others(bench), repetitions, progress, "others, one user")
            out.print(table("Others, one user", runs, lambda run: 1000 * run.per_token, "ms a token"))
    if device.startswith("cuda"):
        results["peak memory, GB"] = torch.cuda.max_memory_allocated() / 1e9
        out.print(f"Peak memory: {results['peak memory, GB']:.1f} GB")
    if json_path is not None:
        json_path.write_text(json.dumps(results, default=asdict, indent=1))
    bench.engine.close()


if __name__ == "__main__":
    typer.run(main)
