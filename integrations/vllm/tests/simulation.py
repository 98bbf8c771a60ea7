"""The scheduler under random loads, with a worker that keeps hashes in the place of keys and values.

Answers are compared with what the tokens alone say they must be: one that is given tokens twice, or none, or another
row's, is wrong.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from hash_worker import BLOCK, END, VOCAB, Backend, Slow, Words, Worker, chosen, folded
from vllm import SamplingParams
from vllm.engine.arg_utils import EngineArgs
from vllm.sampling_params import StructuredOutputsParams
from vllm.utils.hashing import get_hash_fn_by_name
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

from la_agents_vllm import scheduling

MAX_STEPS, MAX_IDLE, MAX_WAIT = 20_000, 20, 60


@dataclass
class Asked:
    """One request of a simulation."""

    prompts: list[list[int]]
    max_tokens: int
    grammar: bool = False
    trigger: str | None = None
    failed_at: int | None = None  # the step in which a branch was made to fail
    tokens: list[int] = field(default_factory=list)
    end: str | None = None

    def expected(self, limit: int) -> list[int]:
        answer: list[int] = []
        most = min(self.max_tokens, limit - max(map(len, self.prompts)))
        while len(answer) < most and answer[-1:] != [END]:
            is_past = self.trigger is not None and self.trigger in Words().decode(answer[-64:])
            prompts = self.prompts[:1] if is_past else self.prompts
            answer.append(chosen([folded(p + answer) for p in prompts], len(answer) if self.grammar else None))
        return answer


@dataclass
class Outcome:
    """What came of a simulation."""

    problems: list[str]
    num_tokens: int
    num_splits: int
    num_preemptions: int


def faulty(kind: type[Any], fault: float, rng: random.Random) -> type[Any]:
    """A scheduler that does not schedule a request's last row, now and then, as a shortage would."""

    class Faulty(kind):  # type: ignore[misc]
        num_splits = 0
        num_parted = 0
        num_preemptions = 0

        def _reserve_prefill_lookahead(self, request: Any, num_computed_tokens: int, num_new_tokens: int) -> int:
            n = super()._reserve_prefill_lookahead(request, num_computed_tokens, num_new_tokens)
            gang = self._gangs.get(request.request_id)
            if gang is None or not gang.together or request is not gang.rows[-1] or not n or rng.random() >= fault:
                return n
            self._scheduled.discard(request)
            type(self).num_splits += 1
            return 0

        def _get_local_prefix_cache_hit(self, request: Any) -> Any:
            blocks, num_tokens, *rest = super()._get_local_prefix_cache_hit(request)
            assert len(blocks.blocks[0]) * BLOCK == num_tokens, "a row would write to blocks that others read"
            return blocks, num_tokens, *rest

        def _scatter(self, gang: Any) -> None:
            type(self).num_preemptions += gang.together
            super()._scatter(gang)

        def _part(self, gang: Any) -> None:
            type(self).num_parted += gang.together and not any(row.is_finished() for row in gang.rows)
            super()._part(gang)

    return Faulty


def simulate(
    folder: str,
    seed: int,
    *,
    is_second: bool,
    fault: float = 0.0,
    is_alone: bool = False,
    scheduling: Any = scheduling,
) -> Outcome:
    """A random load on a small cache: arrivals, aborts, stop strings, cache resets, forced splits.

    Args:
        fault: How often a row is forced apart from its request's others, of the steps that they take together.
        is_alone: One request after the other in the place of many at once; then nothing may part rows.
        scheduling: The module under test, or a mutant of it.
    """
    rng = random.Random(seed)
    is_async = rng.random() < 0.6
    is_crowded, is_tight = not is_alone and seed % 4 == 3, not is_alone and seed % 4 == 1
    depth = (rng.choice([2, 3]) if is_second else 2) if is_async else 1
    if seed % 5 == 0 and (is_second or not is_async):  # a pipeline has many steps under way; the first runner's waits
        depth += 4
    num_blocks, policy = rng.choice([48, 64, 90, 300]), rng.choice(["fcfs", "priority"])
    if is_crowded:  # no two requests fit, and the second comes before all of the first is in
        num_blocks, policy = 28, "priority"
    if is_tight:  # many fit, until their answers grow
        num_blocks = 40
    if is_alone:
        num_blocks = 300
    has_resets = not is_crowded and not is_alone and rng.random() < 0.5  # they set everything right that stands still
    limit = 160 if is_crowded or is_tight else rng.choice([48, 160, 160])
    config = EngineArgs(
        model=folder,
        served_model_name=["simulated-aligned"],
        max_model_len=limit,
        max_num_seqs=16 if is_tight else rng.choice([6, 10, 16]),
        max_num_batched_tokens=16 if is_crowded else rng.choice([16, 32, 64]) if limit > 64 else 64,
        block_size=BLOCK,
        enable_prefix_caching=rng.random() < 0.8,
        scheduling_policy=policy,
        enforce_eager=True,
        dtype="float32",
        skip_tokenizer_init=True,
    ).create_engine_config()
    config.scheduler_config.async_scheduling = is_async
    config.cache_config.num_gpu_blocks, config.cache_config.block_size = num_blocks, BLOCK
    spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=1, dtype=torch.float32)
    cache = KVCacheConfig(num_blocks=num_blocks, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["l"], spec)])
    hash_function = get_hash_fn_by_name("sha256")
    init_none_hash(hash_function)
    hasher = get_request_block_hasher(BLOCK, hash_function)
    manager, slow = StructuredOutputManager(config), Slow(rng)
    manager.backend, manager.executor, manager.tokenizer = Backend(), slow, Words()  # type: ignore[assignment]
    kind = faulty(scheduling.AsyncGangScheduler if is_async else scheduling.GangScheduler, fault, rng)
    scheduler = kind(
        vllm_config=config,
        kv_cache_config=cache,
        structured_output_manager=manager,
        block_size=BLOCK,
        log_stats=False,
    )
    scheduler.use_v2_model_runner = is_second  # the configuration refuses it without Triton
    worker = Worker(is_second=is_second, is_async=is_async)
    tails = (2, 3, 5) if is_tight else (2, 3, 5, 8, 20, 60)
    asked = _crowd(rng, 16) if is_crowded else _requests(rng, 12 if is_alone else 50, limit, tails)
    pending, under_way, steps, num_idle, num_after = list(asked), deque(), 0, 0, 0

    def hand_out() -> None:
        out, result = under_way.popleft()
        for each in scheduler.update_from_output(out, result).values():
            for output in each.outputs:
                request = asked[output.request_id]  # no client hears of a row that it did not ask for
                if request.end is not None:
                    continue
                request.tokens += output.new_token_ids
                if output.finish_reason is not None:
                    request.end = str(output.finish_reason)
                elif rng.random() < 0.005:
                    scheduler.finish_requests(output.request_id, RequestStatus.FINISHED_ABORTED)
                    request.end = "a stop string, seen by the front end"

    while pending or scheduler.has_requests() or under_way:
        steps += 1
        if steps > MAX_STEPS:
            return Outcome(["it never ends"], 0, 0, 0)
        slow.step()
        while pending and not (under_way or scheduler.has_requests()) if is_alone else pending and rng.random() < 0.4:
            name = pending.pop(0)
            request = _made(name, asked[name], hasher, rng.randrange(2) if policy == "priority" else 0)
            manager.grammar_init(request)
            scheduler.add_request(request)
        alive = [name for name in asked if name not in pending and asked[name].end is None]
        num_after = 0 if alive or pending else num_after + 1
        if num_after > MAX_WAIT:
            return Outcome([f"rows of nobody's are left: {len(scheduler.requests)}"], 0, 0, 0)
        if any(steps - (asked[name].failed_at or steps) > MAX_WAIT for name in alive):
            return Outcome(["nobody hears that a branch failed"], 0, 0, 0)
        alive = [name for name in alive if asked[name].failed_at is None]
        if alive and rng.random() < 0.03:
            name = rng.choice(alive)
            scheduler.finish_requests(name, RequestStatus.FINISHED_ABORTED)
            asked[name].end = "aborted"
        branches = [(name, row) for name in alive for row in _branches(scheduler, name)]
        if branches and not is_alone and rng.random() < 0.005:
            name, row = rng.choice(branches)
            asked[name].failed_at = steps
            scheduler.finish_requests(row.request_id, RequestStatus.FINISHED_ERROR)
        if has_resets and rng.random() < 0.01:
            scheduler.reset_prefix_cache(reset_running_requests=True)
        if scheduler.has_requests() and len(under_way) < depth:
            out = scheduler.schedule()
            num_idle = 0 if out.total_num_scheduled_tokens else num_idle + 1
            if num_idle > MAX_IDLE:
                return Outcome(["it stands still"], 0, 0, 0)
            while out.has_structured_output_requests and under_way:
                hand_out()
            grammar = scheduler.get_grammar_bitmask(out)
            masks = {} if grammar is None else _masks(grammar)
            under_way.append((out, worker.execute(out, masks)))
            if len(under_way) < depth and rng.random() < 0.8:
                continue
        if under_way:
            hand_out()
    parted = [f"{kind.num_parted} steps were for nothing"] if is_alone and kind.num_parted else []
    return Outcome(
        _problems(asked, limit) + _leaks(scheduler, num_blocks) + parted,
        sum(len(request.tokens) for request in asked.values()),
        kind.num_splits,
        kind.num_preemptions,
    )


def _branches(scheduler: Any, name: str) -> list[Request]:
    gang = scheduler._gangs.get(name)
    return [] if gang is None else [row for row in gang.rows[1:] if not row.is_finished()]


def _requests(rng: random.Random, number: int, limit: int, tails: tuple[int, ...]) -> dict[str, Asked]:
    starts = [[rng.randrange(10, VOCAB) for _ in range(rng.choice([0, 7, 8, 9, 16, 17, 25]))] for _ in range(4)]

    def prompt() -> list[int]:
        tail = [rng.randrange(10, VOCAB) for _ in range(rng.choice(tails))]
        return (rng.choice(starts) + tail)[: limit - 1]

    asked: dict[str, Asked] = {}
    for i in range(number):
        prompts = [prompt() for _ in range(1 + rng.choice([0, 1, 1, 1, 2]))]
        if asked and rng.random() < 0.3:  # seen before, to the token
            prompts = [list(p) for p in rng.choice(list(asked.values())).prompts]
        has_grammar = rng.random() < 0.25
        trigger = f"<{rng.randrange(VOCAB)}" if has_grammar and len(prompts) > 1 and rng.random() < 0.7 else None
        asked[f"r{i}"] = Asked(prompts, rng.randint(1, 30), has_grammar, trigger and trigger[:3])
    return asked


def _crowd(rng: random.Random, number: int) -> dict[str, Asked]:
    def prompt() -> list[int]:
        return [rng.randrange(10, VOCAB) for _ in range(rng.randint(70, 80))]

    return {f"r{i}": Asked([prompt(), prompt()], rng.randint(1, 16)) for i in range(number)}


def _made(name: str, asked: Asked, hasher: Any, priority: int) -> Request:
    branches = asked.prompts[1:]
    extra = None
    if branches:
        extra = {
            "la_branches": [token for branch in branches for token in branch],
            "la_lengths": [len(b) for b in branches],
            "la_scale": 2.0,
        }
        extra |= {"la_trigger": asked.trigger} if asked.trigger else {}
    params = SamplingParams(temperature=0, max_tokens=asked.max_tokens, extra_args=extra)
    params._eos_token_id = END
    if asked.grammar:
        params.structured_outputs = StructuredOutputsParams(regex="any")
        params.structured_outputs._backend = "guidance"
    return Request(name, asked.prompts[0], params, None, block_hasher=hasher, priority=priority)


def _masks(grammar: Any) -> dict[str, Any]:
    flags = np.unpackbits(np.ascontiguousarray(grammar.grammar_bitmask).view(np.uint8), axis=1, bitorder="little")
    return {name: flags[i, :VOCAB].astype(bool) for i, name in enumerate(grammar.structured_output_request_ids)}


def _problems(asked: dict[str, Asked], limit: int) -> list[str]:
    found = []
    for name, request in asked.items():
        expected = request.expected(limit)
        was_cut = request.end in ("aborted", "a stop string, seen by the front end")
        was_cut |= request.failed_at is not None and request.end == "error"
        if request.end is None:
            found.append(f"{name} was never told to have ended")
        if request.end == "error" and request.failed_at is None:
            found.append(f"{name} ended by an error")
        if request.tokens != (expected[: len(request.tokens)] if was_cut else expected):
            found.append(f"{name} ended by {request.end}: {request.tokens} instead of {expected}")
    return found


def _leaks(scheduler: Any, num_blocks: int) -> list[str]:
    left = {
        "requests": len(scheduler.requests),
        "gangs": len(scheduler._gangs) + len(scheduler._forming) + len(scheduler._apart) + len(scheduler._ended),
        "rows": len(scheduler.running) + len(scheduler.waiting),
    }
    if not scheduler.defer_block_free:
        left["blocks"] = num_blocks - 1 - scheduler.kv_cache_manager.block_pool.get_num_free_blocks()
    return [f"{number} {what} are left" for what, number in left.items() if number]
