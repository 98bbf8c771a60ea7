"""Two minutes of everything at once: nothing hangs, nothing leaks, and whoever got an answer got the right one."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import takewhile

import pytest
import torch

from la_agents import alignment
from la_agents.engine.engine import Engine
from la_agents.engine.runner import Runner
from la_agents.engine.scheduler import Limits
from la_agents.engine.sequence import Sequence
from la_agents.errors import (
    DeadlineExceededError,
    EngineBusyError,
    GenerationError,
    LaAgentsError,
    RequestTooLargeError,
)
from la_agents.requests import Completion, Request
from tests.engine_tools import POISON, failing_on, fresh_model, random_request, tokens_of

NUM_REQUESTS = 200
NUM_PROMPTS = 150  # the rest ask again
NUM_USERS = 25
PREFIX_CACHE_BYTES = 2**24

RAISES, OUT_OF_MEMORY, NAN = POISON, POISON - 1, POISON - 2
FAILURES = {RAISES: GenerationError, OUT_OF_MEMORY: RequestTooLargeError, NAN: GenerationError}


@dataclass
class Call:
    """One user's request, what that user does with it, and what came of it."""

    request: Request
    cancel_after: int | None
    asynchronous: bool
    delay: float
    outcome: Completion | LaAgentsError | None = None

    @property
    def poison(self) -> set[int]:
        return {token for prompt in self.request.prompts for token in prompt} & FAILURES.keys()


def random_call(number: int) -> Call:
    shape, rng = random.Random(number % NUM_PROMPTS), random.Random(number)
    request = random_request(
        number % NUM_PROMPTS,
        num_branches=shape.choice([0, 1, 1, 1, 2, 4]),
        shared=shape.choice([0, 0, 40, 150]),
        length=shape.choice([3, 20, 60, 300]),
        salt=f"user-{number % NUM_USERS}",
        temperature=rng.choice([0.0, 0.0, 0.7, 1.2]),
        top_p=rng.choice([1.0, 0.9]),
        seed=number,
        max_tokens=rng.choice([1, 10, 60, 150]),
        timeout=rng.choice([None] * 8 + [0.05, 1.0]),
        alignment={
            "method": rng.choice(["tapered", "linear"]),
            "strength": rng.uniform(-1, 4),
            "max_divergence": rng.choice([None, 0.1, 1.0]),
        },
    )
    if rng.random() < 0.15:
        request = replace(request, reference=(*request.reference[:-1], rng.choice([*FAILURES])))
    cancel_after = rng.randrange(30) if rng.random() < 0.2 else None
    return Call(request, cancel_after, asynchronous=rng.random() < 0.3, delay=rng.uniform(0, 2))


def perform(engine: Engine, call: Call) -> None:
    time.sleep(call.delay)
    try:
        call.outcome = asyncio.run(_read_async(engine, call)) if call.asynchronous else _read(engine, call)
    except LaAgentsError as error:
        call.outcome = error.with_traceback(None)


def _read(engine: Engine, call: Call) -> Completion:
    generation = engine.submit(call.request)
    for i, _ in enumerate(generation):
        if i == call.cancel_after:
            generation.cancel()
    return generation.completion


async def _read_async(engine: Engine, call: Call) -> Completion:
    generation = engine.submit(call.request)
    i = 0
    async for _ in generation:
        if i == call.cancel_after:
            generation.cancel()
        i += 1
    return await generation.acompletion()


def turns_on_rounding(call: Call, said: list[int]) -> bool:
    """Whether a greedy step after `said` hangs on the last bits of a float: a support that ends within 1e-5."""
    request, runner = call.request, Runner(fresh_model())
    if request.sampling.temperature:
        return False
    f_0, *branches = (runner.score([*prompt, *said])[-1:] for prompt in request.prompts)
    f_1 = alignment.line(f_0, torch.stack(branches, dim=1), torch.tensor([request.weights]), 1.0)
    if request.alignment.chosen_support == "plausible":
        ratio = (f_1 - f_1.amax(dim=-1, keepdim=True)).double().exp()
        return bool(((ratio - math.exp(request.alignment.log_plausibility)).abs() < 1e-5).any())
    mass = torch.softmax(f_1.double() / 0.5, dim=-1).sort(descending=True).values.cumsum(dim=-1)
    return bool(((mass - request.alignment.support_p).abs() < 1e-5).any())


def check(call: Call, lone: list[int]) -> str:
    """What came of it, if that may have come of it."""
    outcome = call.outcome
    if isinstance(outcome, Completion):
        tokens = tokens_of(outcome)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(tokens, lone, strict=False)))
        if same < len(tokens) and turns_on_rounding(call, tokens[:same]):
            return "turned on rounding"
        assert tokens == lone[: len(tokens)], call
        assert not call.poison, "poison was swallowed"
        if outcome.finish_reason == "cancelled":
            assert call.cancel_after is not None
        else:
            assert tokens == lone, call
        return outcome.finish_reason
    if isinstance(outcome, DeadlineExceededError):
        assert call.request.timeout is not None
        return "deadline"
    if isinstance(outcome, EngineBusyError):
        return "busy"
    tokens = call.poison or {token for token in lone if token in FAILURES}
    assert any(isinstance(outcome, FAILURES[token]) for token in tokens), (outcome, call)
    return "failed"


def live_tensor_bytes() -> int:
    gc.collect()
    return sum(x.nbytes for x in gc.get_objects() if type(x) is torch.Tensor)


def live_sequences() -> int:
    return sum(type(x) is Sequence for x in gc.get_objects())


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_soak() -> None:
    loaded = fresh_model()
    calls = [random_call(number) for number in range(NUM_REQUESTS)]
    threads, before = threading.active_count(), live_tensor_bytes()
    limits = Limits(max_rows=24, max_cached_tokens=12_000, max_waiting=16, prefill_budget=96)
    out_of_memory = RuntimeError("DefaultCPUAllocator: can't allocate memory")
    with Engine(loaded, limits, prefix_cache_bytes=PREFIX_CACHE_BYTES) as engine:
        with (
            failing_on(loaded, RAISES, RuntimeError("injected")),
            failing_on(loaded, OUT_OF_MEMORY, out_of_memory),
            failing_on(loaded, NAN),
            ThreadPoolExecutor(NUM_USERS) as users,
        ):
            pending = [users.submit(perform, engine, call) for call in calls]
            for future in pending:
                future.result(timeout=300)
        stats = engine.stats()
        assert stats.num_rows == stats.num_waiting == stats.num_running == stats.row_bytes == 0
        assert stats.prefix_bytes <= PREFIX_CACHE_BYTES
        assert live_tensor_bytes() - before <= PREFIX_CACHE_BYTES + 2**20, "nothing but the prefix cache is kept"
        assert live_sequences() <= limits.max_rows, "at most those of the last step"
    del engine
    assert live_tensor_bytes() <= before
    assert threading.active_count() <= threads

    with Engine(loaded, prefix_cache_bytes=0) as quiet:
        lone = [tokens_of(quiet.complete(replace(call.request, timeout=None))) for call in calls]
    outcomes = Counter(check(call, tokens) for call, tokens in zip(calls, lone, strict=True))
    print(outcomes, stats)
    assert outcomes["length"] >= NUM_REQUESTS // 3
    assert min(outcomes[ending] for ending in ("cancelled", "failed", "deadline")) > 0
    assert outcomes["turned on rounding"] <= 2
    assert stats.prefix_hit_rate > 0
