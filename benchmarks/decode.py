"""`python -m benchmarks.decode`: aligned decoding beside plain decoding and beside its peers, on the bundled model.

What each row is stands in benchmarks/README.md. Every case of a table runs in turn with the others, after a warm-up.
"""

from __future__ import annotations

import json
import resource
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from langchain_core.messages import HumanMessage
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import gpu as on_gpu
from benchmarks import peers
from benchmarks.grammar import grammar_cost
from benchmarks.peer_process import PeerProcess
from benchmarks.quality import token_loss
from benchmarks.timing import Clock, Run, Summary, alternate, ratio, to_run
from la_agents.engine.engine import Engine
from la_agents.engine.scheduler import Limits
from la_agents.models import LoadedModel, load_model
from la_agents.models.files import bundled_gguf
from la_agents.principles import as_principles
from la_agents.prompts.builder import PromptBuilder
from la_agents.requests import Alignment, Request, Sampling

PRINCIPLE = "Talk like a pirate: say arr, ye and matey."
FOUR_PRINCIPLES = (PRINCIPLE, "Be brief.", "Use examples about plants.", "Be cheerful.")
QUESTIONS = (
    "Describe the life of a honey bee in detail.",
    "Explain how a bicycle works and how to repair a flat tyre.",
    "Tell me about the history of bread, from the first loaves until today.",
    "What should I see on a long walk through an old city, and why?",
)
DOCUMENT = Path(__file__).with_name("document.txt")
console = Console(stderr=True)


class Bench:
    """What the cases share: our engine, and the process of the peers.

    The engine's has no end-of-sequence ids, so that every answer has the length that was asked for. The prefix cache is
    off: a repetition would otherwise find the prompt of the one before.
    """

    def __init__(self, loaded: LoadedModel, others: PeerProcess, num_tokens: int) -> None:
        endless = replace(loaded, eos_token_ids=frozenset())
        self.engine = Engine(endless, Limits(max_positions=loaded.max_positions), prefix_cache_bytes=0)
        self.builders = {place: PromptBuilder(loaded.tokenizer, placement=place) for place in ("system", "user")}
        self.others = others
        self.num_tokens = num_tokens

    def request(
        self,
        question: str,
        principles: Sequence[str] = (PRINCIPLE,),
        *,
        placement: str = "system",
        num_tokens: int | None = None,
        compose: Any = "joint",
        **alignment: Any,
    ) -> Request:
        builder = self.builders[placement]
        prompts = builder.build([HumanMessage(question)], as_principles(principles), compose)
        return Request(
            reference=prompts.reference.token_ids,
            branches=tuple(branch.token_ids for branch in prompts.branches),
            weights=prompts.weights,
            sampling=Sampling(max_tokens=num_tokens or self.num_tokens),
            alignment=Alignment(strength=1.0, **alignment),
        )

    def serve(self, requests: Sequence[Request], delays: Sequence[float] | None = None) -> list[Clock]:
        """All requests from threads of their own, each after its delay in seconds."""
        clocks = [Clock() for _ in requests]

        def user(i: int) -> None:
            time.sleep(delays[i] if delays else 0.0)
            clocks[i].start = time.perf_counter()
            for _ in self.engine.submit(requests[i]):
                clocks[i].tick()

        threads = [threading.Thread(target=user, args=(i,)) for i in range(len(requests))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return clocks

    def users(self, number: int, principles: Sequence[str] = (PRINCIPLE,), **settings: Any) -> Callable[[], Run]:
        """A case: `number` users with different questions, arriving together."""
        requests = [
            self.request(f"{QUESTIONS[i % len(QUESTIONS)]} ({i})", principles, **settings) for i in range(number)
        ]
        return lambda: to_run(self.serve(requests))

    def authors(self, number: int) -> Callable[[], Run]:
        """A case: the authors' algorithm, one user after the other."""
        requests = [self.request(f"{QUESTIONS[i % len(QUESTIONS)]} ({i})") for i in range(number)]
        answers = [(r.reference, r.branches[0], r.sampling.max_tokens) for r in requests]
        return lambda: self.others.run_all(peers.authors, answers)


def one_user(bench: Bench) -> dict[str, Callable[[], Run]]:
    request = bench.request(QUESTIONS[0])
    reference, principle, num = request.reference, request.branches[0], bench.num_tokens
    cases = {
        "ours, unaligned": bench.users(1, ()),
        "ours, aligned": bench.users(1),
        "ours, aligned, budget 0.5": bench.users(1, max_divergence=0.5),
        "ours, aligned, sum of 4": bench.users(1, FOUR_PRINCIPLES, compose="sum"),
        "plain (transformers)": lambda: bench.others.run(peers.plain, reference, num),
        "authors": bench.authors(1),
        "cfg (transformers)": lambda: bench.others.run(peers.cfg, reference, principle, num),
    }
    if bench.others.has_llama:
        cases["llama.cpp, plain"] = lambda: bench.others.llama(reference, num)
    return cases


def several_users(bench: Bench, number: int) -> dict[str, Callable[[], Run]]:
    return {
        "ours, unaligned": bench.users(number, ()),
        "ours, aligned": bench.users(number),
        # One at a time: the rate does not depend on how many wait, so two users show it.
        "authors, one after another": bench.authors(2),
    }


def rag(bench: Bench) -> dict[str, Callable[[], Run]]:
    question = f"{DOCUMENT.read_text()}\n\nSum this up."
    short = {"num_tokens": 2}
    return {
        "ours, unaligned": lambda: to_run(bench.serve([bench.request(question, (), **short)])),
        "ours, aligned, placement user": lambda: to_run(
            bench.serve([bench.request(question, placement="user", **short)])
        ),
        "ours, aligned, placement system": lambda: to_run(bench.serve([bench.request(question, **short)])),
    }


def arrivals(bench: Bench, number: int = 16, seconds: float = 5.0) -> dict[str, float]:
    """Users arriving over some seconds with prompts and answers of mixed lengths: what each of them sees."""
    words = DOCUMENT.read_text().split()
    requests = [
        bench.request(
            f"{' '.join(words[: 20 * (i % 8)])} {QUESTIONS[i % len(QUESTIONS)]}",
            num_tokens=bench.num_tokens // 2 * (1 + i % 3),
        )
        for i in range(number)
    ]
    clocks = bench.serve(requests, [seconds * i / number for i in range(number)])
    first = sorted(c.times[0] - c.start for c in clocks)
    rate = sorted((len(c.times) - 1) / (c.times[-1] - c.times[0]) for c in clocks)
    return {
        "time to first token, p50, s": first[number // 2],
        "time to first token, p95, s": first[int(0.95 * number)],
        "tokens per second a user, p50": rate[number // 2],
        "tokens per second a user, p5": rate[int(0.05 * number)],
        "tokens per second, all": to_run(clocks).tokens_per_second,
    }


def table(title: str, runs: dict[str, list[Run]], base: str, value: Callable[[Run], float], unit: str) -> Table:
    out = Table("case", f"{unit} (min-max)", f"x {base} (min-max)", title=title)
    for name, repetitions in runs.items():
        out.add_row(name, str(Summary.of(map(value, repetitions))), str(ratio(repetitions, runs[base], value)))
    return out


def per_token(run: Run) -> float:
    return 1000 * run.per_token


def time_to_first(run: Run) -> float:
    return 1000 * run.first


def total_rate(run: Run) -> float:
    return run.tokens_per_second


def main(
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all runs there.")] = None,
    repetitions: Annotated[int, typer.Option(min=1)] = 5,
    tokens: Annotated[int, typer.Option(min=4, help="Tokens an answer.")] = 32,
    quantize: Annotated[str, typer.Option(help="int8 or none, for our engine; peers run float32.")] = "int8",
    only: Annotated[str, typer.Option(help="Comma-separated tables: one,4,16,rag,arrivals,loss,grammar.")] = "",
    gpu: Annotated[str, typer.Option(help=f"Instead, on a GPU, random weights of {' or '.join(on_gpu.SHAPES)}.")] = "",
) -> None:
    """Run the tables and print them."""
    if gpu:
        on_gpu.main(shapes=gpu, repetitions=repetitions, json_path=json_path)
        return
    wanted = set(only.split(",")) if only else {"one", "4", "16", "rag", "arrivals", "loss", "grammar"}
    scheme = None if quantize == "none" else quantize
    loaded = load_model(device="cpu", quantize=scheme)
    results: dict[str, Any] = {"quantize": quantize, "threads": torch.get_num_threads(), "torch": torch.__version__}
    out = Console()
    with PeerProcess(bundled_gguf(), torch.get_num_threads()) as others, Progress(console=console) as progress:
        bench = Bench(loaded, others, tokens)
        if "one" in wanted:
            runs = results["one user"] = alternate(one_user(bench), repetitions, progress, "one user")
            out.print(table("One user", runs, "ours, unaligned", per_token, "ms a token"))
            out.print(table("One user", runs, "authors", total_rate, "tokens/s"))
        for number in (4, 16):
            if str(number) in wanted:
                title = f"{number} users together"
                runs = results[title] = alternate(several_users(bench, number), repetitions, progress, title)
                out.print(table(title, runs, "ours, unaligned", per_token, "ms a token"))
                out.print(table(title, runs, "authors, one after another", total_rate, "tokens/s"))
        if "rag" in wanted:
            runs = results["rag"] = alternate(rag(bench), repetitions, progress, "long prompt")
            out.print(table("Long prompt", runs, "ours, unaligned", time_to_first, "ms to first token"))
        if "arrivals" in wanted:
            results["arrivals"] = arrivals(bench)
            out.print(_facts("16 users over 5 s, mixed lengths", results["arrivals"]))
        if "grammar" in wanted:
            results["grammar"] = grammar_cost(bench.engine, 4 * tokens, repetitions)
            out.print(_facts("A JSON schema beside the decoding", results["grammar"]))
        if "loss" in wanted:
            losses = results["loss"] = {"float32": others.loss(), quantize: token_loss(loaded)}
            out.print(_facts("Mean loss a token on the fixed text, nats", losses))
    stats = bench.engine.stats()
    busy = stats.prefill_seconds + stats.decode_seconds + stats.sampler_seconds + stats.rest_seconds
    if busy:  # with nothing but the loss asked for, the engine did nothing
        results["share of a step"] = {
            name: getattr(stats, f"{name}_seconds") / busy for name in ("prefill", "decode", "sampler", "rest")
        }
        out.print(_facts("Share of the engine's time", results["share of a step"]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    results["peak memory, MiB"] = peak
    out.print(f"Peak memory of our process: {peak:.0f} MiB")
    if json_path is not None:
        json_path.write_text(json.dumps(results, default=asdict, indent=1))


def _facts(title: str, facts: dict[str, float]) -> Table:
    out = Table("", "", title=title)
    for name, number in facts.items():
        out.add_row(name, f"{number:.4g}")
    return out


if __name__ == "__main__":
    typer.run(main)
