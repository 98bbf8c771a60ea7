"""The logits processor on both of vLLM's interfaces, and what it and the scheduler refuse at start."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

import numpy as np
import torch
from vllm import SamplingParams
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext

from la_agents_vllm.arguments import ROW, Arguments, Row
from la_agents_vllm.compatibility import check_configuration, check_hooks
from la_agents_vllm.processor import AlignmentProcessor

VOCAB, SLOTS = 512, 40
CPU = torch.device("cpu")


def configured(scheduler_cls: Any = "la_agents_vllm.gang_scheduler") -> Any:
    return SimpleNamespace(scheduler_config=SimpleNamespace(scheduler_cls=scheduler_cls, max_num_seqs=SLOTS))


def some_rows(rng: random.Random, names: list[str]) -> list[tuple[SamplingParams, int]]:
    """The rows of some requests and some of nobody's, each with the number of tokens that it holds."""
    rows: list[tuple[SamplingParams, int]] = []
    for name in names:
        k, place = rng.choice([0, 1, 1, 2]), rng.randint(0, 9)
        extra = {
            "la_branches": [1, 2] * k,
            "la_lengths": [2] * k,
            "la_scale": rng.choice([1, 1.5, 3]),
            "la_support_p": rng.choice([0.8, 1]),
            "la_plausibility": rng.choice([0, 0.1]),
            "la_max_divergence": rng.choice([float("inf"), 0.5]),
            "la_fluency": 0.2,
        }
        given = Arguments.of(extra)
        assert given is not None
        first = Row.first(name, given, rng.randrange(99), rng.choice([0.0, 0.8]), rng.choice([1.0, 0.9]))
        for role in range(k + 1):
            rows.append((SamplingParams(extra_args={ROW: Row(**{**vars(first), "role": role}).wire}), place))
    rows += [(SamplingParams(), 3)] * rng.randint(0, 3)
    rng.shuffle(rows)
    return rows


class First:
    """The processor as the first runner uses it."""

    def __init__(self) -> None:
        self.processor = AlignmentProcessor(configured(), CPU, False)
        self.batch: list[tuple[SamplingParams, int]] = []

    def choose(self, logits: torch.Tensor, rows: list[tuple[SamplingParams, int]]) -> torch.Tensor:
        added = [(i, params, [1], [0] * place) for i, (params, place) in enumerate(rows)]
        removed = list(range(len(rows), len(self.batch)))
        self.processor.update_state(BatchUpdate(len(rows), removed, added, []))
        self.batch = rows
        return self.processor.apply(logits)


class Second:
    """The processor as the second runner uses it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.prompt = np.zeros(SLOTS, dtype=np.int32)
        states = SimpleNamespace(prompt_len=SimpleNamespace(np=self.prompt), max_num_reqs=SLOTS, device=CPU)
        self.processor = AlignmentProcessor(configured(), states)
        self.slots: list[int] = []

    def enter(self, rows: list[tuple[SamplingParams, int]]) -> None:
        self.slots = self.rng.sample(range(SLOTS), len(rows))
        for slot, (params, _) in zip(self.slots, rows, strict=True):
            self.prompt[slot] = self.rng.randint(2, 50)
            is_ours = self.processor.add_request(slot, params)
            assert is_ours == (ROW in (params.extra_args or {}))

    def choose(self, logits: torch.Tensor, rows: list[tuple[SamplingParams, int]]) -> torch.Tensor:
        """In another order each step, as that runner does."""
        order = self.rng.sample(range(len(rows)), len(rows))
        slots = np.array([self.slots[i] for i in order])
        lengths = np.array([self.prompt[self.slots[i]] + rows[i][1] for i in order])
        mapping, nothing = torch.from_numpy(slots), torch.zeros(len(rows))
        ctx = LogitsContext(mapping, mapping, slots, nothing, nothing, nothing, lengths)
        chosen = self.processor.apply(logits[order], ctx)
        return chosen[torch.tensor(order).argsort()]


@pytest.mark.parametrize("seed", range(8))
def test_both_interfaces_choose_alike_one_token_a_request(seed: int) -> None:
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    first, second = First(), Second(rng)
    for batch in range(3):
        rows = some_rows(rng, [f"{batch} {i}" for i in range(rng.randint(1, 6))])
        second.enter(rows)
        for step in range(3):
            rows = [(params, place + (step > 0)) for params, place in rows]
            logits = torch.randn(len(rows), VOCAB, generator=generator) * 3
            a, b = first.choose(logits.clone(), rows), second.choose(logits.clone(), rows)
            assert torch.equal(a, b)
            tokens: dict[str, set[int]] = {}
            for i, (params, _) in enumerate(rows):
                row = Row.of(params.extra_args)
                if row is None:
                    assert torch.equal(a[i], logits[i])
                else:
                    tokens.setdefault(row.gang, set()).add(int(a[i].argmax()))
            assert all(len(found) == 1 for found in tokens.values())


def test_rows_of_a_request_that_is_not_all_here_are_left_alone() -> None:
    rows = [row for row in some_rows(random.Random(1), ["a", "b", "c"]) if row[0].extra_args][:1]
    rows = [row for row in rows if Row.of(row[0].extra_args).size > 1]  # type: ignore[union-attr]
    logits = torch.randn(len(rows), VOCAB)
    assert torch.equal(First().choose(logits.clone(), rows), logits)


def test_rows_are_followed_as_the_batch_moves() -> None:
    params = [p for p, _ in some_rows(random.Random(2), ["a"]) if p.extra_args]
    processor, logits = AlignmentProcessor(configured(), CPU, False), torch.randn(8, VOCAB)
    added = [(i, p, [1], []) for i, p in enumerate(params)]
    processor.update_state(BatchUpdate(8, [], added, []))
    before = processor.apply(logits.clone())
    n = len(params)
    moves = [(i, 7 - i, MoveDirectionality.UNIDIRECTIONAL) for i in range(n)]
    processor.update_state(BatchUpdate(8, [], [], moves))
    moved = logits.clone()
    moved[[7 - i for i in range(n)]] = logits[:n]
    after = processor.apply(moved)
    assert [int(after[7 - i].argmax()) for i in range(n)] == [int(before[i].argmax()) for i in range(n)]
    processor.update_state(BatchUpdate(0, [7 - i for i in range(n)], [], []))
    assert torch.equal(processor.apply(logits.clone()), logits)


@pytest.mark.parametrize("extra", [{ROW: []}, {ROW: ["x", 0, 2], "la_branches": [1, 2]}, {"la_scale": 1, ROW: None}])
def test_what_is_the_schedulers_own_cannot_be_forged(extra: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="scheduler's own"):
        AlignmentProcessor.validate_params(SamplingParams(extra_args=extra))


def test_requests_of_others_are_not_looked_at() -> None:
    AlignmentProcessor.validate_params(SamplingParams(presence_penalty=1.0, extra_args={"of_another": 1}))
    with pytest.raises(ValueError, match="presence_penalty"):
        AlignmentProcessor.validate_params(SamplingParams(presence_penalty=1.0, extra_args={"la_probe": 1}))


@pytest.mark.parametrize("chosen", [None, "vllm.v1.core.sched.scheduler.Scheduler", Scheduler])
def test_without_the_scheduler_nothing_starts(chosen: Any) -> None:
    with pytest.raises(ValueError, match=r"--scheduler-cls la_agents_vllm\.gang_scheduler"):
        AlignmentProcessor(configured(chosen), CPU, False)


def test_a_scheduler_with_other_hooks_is_refused() -> None:
    check_hooks()

    class Later(Scheduler):
        def _preempt_request(self, request: Any, when: float) -> None: ...  # type: ignore[override]

    with pytest.raises(RuntimeError, match=r"_preempt_request.*install vLLM 0\.31 or 0\.32"):
        check_hooks(Later)


def _config(**changes: Any) -> Any:
    parallel = SimpleNamespace(enable_batch_sharded_sampling=changes.get("sharded", False))
    model = SimpleNamespace(
        runner_type=changes.get("runner", "generate"), served_model_name=changes.get("name", "m-aligned")
    )
    return SimpleNamespace(parallel_config=parallel, model_config=model, speculative_config=changes.get("speculative"))


@pytest.mark.parametrize(
    ("changes", "scheduler", "named"),
    [
        ({"speculative": object()}, {}, "speculative decoding"),
        ({"sharded": True}, {}, "batch-sharded sampling"),
        ({"runner": "pooling"}, {}, "pooling"),
        ({"name": "m"}, {}, "-aligned"),
        ({}, {"connector": object()}, "KV connector"),
        ({}, {"ec_connector": object()}, "encoder connector"),
        ({}, {"dcp_world_size": 2}, "context parallelism"),
    ],
)
def test_what_cannot_work_is_refused_by_name(changes: Any, scheduler: Any, named: str) -> None:
    plain = {"connector": None, "ec_connector": None, "dcp_world_size": 1}
    check_configuration(_config(), SimpleNamespace(**plain))
    with pytest.raises(ValueError, match=named):
        check_configuration(_config(**changes), SimpleNamespace(**{**plain, **scheduler}))
