"""The loop, stepped by hand: what happens in which step."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from la_agents.engine.loop import Loop
from la_agents.engine.prefix_cache import PrefixCache
from la_agents.engine.scheduler import Limits, Scheduler
from la_agents.engine.sequence import Sequence, Status
from la_agents.errors import DeadlineExceededError, GenerationError
from la_agents.models import LoadedModel
from la_agents.models.quantization import quantize_model
from la_agents.requests import Chunk, Completion, Generation, Request
from la_agents.requests.generation import Event
from tests.engine_tools import POISON, answer, failing_on, fresh_model, random_request, tokens_of

MODEL = fresh_model()


class Counting(Generation):
    """A generation that counts the chunks which have come."""

    num_chunks = 0

    def post(self, event: Event) -> None:
        self.num_chunks += isinstance(event, Chunk)
        super().post(event)


class ByHand:
    """A loop without its thread."""

    def __init__(self, model: LoadedModel = MODEL, *, static_shapes: bool | None = None, **limits: int) -> None:
        self.scheduler, lock = Scheduler(Limits(max_positions=1024, **limits)), threading.RLock()
        self.loop = Loop(model, self.scheduler, lock, PrefixCache(0), static_shapes=static_shapes)

    def submit(self, request: Request, deadline: float | None = None) -> tuple[Sequence, Counting]:
        sequence = Sequence(request, deadline=deadline)
        generation = Counting(sequence.cancel)
        self.scheduler.submit(sequence)
        self.loop.register(sequence, generation)
        return sequence, generation

    def step(self) -> None:
        self.loop.step()


def test_a_cancelled_sequence_frees_its_rows_at_the_next_step() -> None:
    hand = ByHand()
    going, _ = hand.submit(random_request(1, max_tokens=50))
    ending, generation = hand.submit(random_request(2, num_branches=3, max_tokens=50))
    for _ in range(3):
        hand.step()
    assert hand.loop.runner.num_rows == 5
    ending.cancel()
    hand.step()
    assert hand.loop.runner.num_rows == hand.scheduler.num_rows == 1
    assert ending.status is Status.FINISHED
    assert len(generation.completion.records) == 3
    assert going.num_generated == 4


@pytest.mark.parametrize("num_steps", [0, 1, 3])
def test_a_deadline_is_kept_at_the_next_step(num_steps: int) -> None:
    """Waiting, in the middle of its prompt, and running."""
    hand = ByHand(prefill_budget=16)
    request = random_request(1, length=30, max_tokens=50, timeout=1000)
    sequence, generation = hand.submit(request, time.monotonic() + 1000)
    for _ in range(num_steps):
        hand.step()
    assert sequence.status is [Status.WAITING, Status.PREFILLING, None, Status.RUNNING][num_steps]
    sequence.deadline = time.monotonic() - 1
    hand.step()
    with pytest.raises(DeadlineExceededError):
        generation.completion  # noqa: B018
    assert hand.loop.runner.num_rows == hand.scheduler.num_rows == 0
    assert hand.loop.idle


def test_a_long_prompt_delays_running_streams_by_one_budget_a_step() -> None:
    hand = ByHand(prefill_budget=32)
    _, running = hand.submit(random_request(1, length=5, max_tokens=100))
    hand.step()
    long, _ = hand.submit(random_request(2, num_branches=1, shared=100, length=200, max_tokens=5))
    steps, tokens, computed = 0, running.num_chunks, 0
    while long.status is not Status.RUNNING:
        hand.step()
        steps += 1
        assert running.num_chunks == tokens + steps, "a token a step, whatever is prefilled beside it"
        assert long.num_computed_tokens - computed <= 32
        computed = long.num_computed_tokens
    assert steps >= (100 + 2 * 200) / 32


def test_short_prompts_are_prefilled_side_by_side_and_run_from_the_next_step_on() -> None:
    hand = ByHand(prefill_budget=256)
    generations = [hand.submit(random_request(seed, length=20))[1] for seed in range(6)]
    hand.step()
    assert [g.num_chunks for g in generations] == [1] * 6
    hand.step()
    assert [g.num_chunks for g in generations] == [2] * 6


def test_a_row_moved_before_it_is_found_not_finite_leaves_nothing_behind() -> None:
    """One sequence ends in the step in which its neighbour turns nan, and the neighbour moves into the gap."""
    hand, late = ByHand(), random_request(4, num_branches=1, length=9)
    hand.submit(random_request(1, max_tokens=30))
    hand.step()
    hand.submit(random_request(2, max_tokens=1))
    _, broken = hand.submit(random_request(3, length=40, poisoned=True))
    with failing_on(MODEL, POISON):
        hand.step()
    with pytest.raises(GenerationError):
        broken.completion  # noqa: B018
    _, generation = hand.submit(late)
    for _ in range(8):
        hand.step()
    assert tokens_of(generation.completion) == tokens_of(answer(MODEL, late))


@pytest.mark.parametrize("static", [False, True])
def test_a_sampler_that_fails_once_for_all_changes_no_answer(static: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    hand = ByHand(static_shapes=static)
    requests = [random_request(seed, num_branches=seed % 2, max_tokens=8) for seed in range(3)]
    generations = [hand.submit(request)[1] for request in requests]
    for _ in range(3):
        hand.step()
    start, failed = hand.loop.sampler.start, []

    def fails_once(*arguments: Any, **settings: Any) -> Any:
        if not failed:
            failed.append(True)
            raise MemoryError
        return start(*arguments, **settings)

    monkeypatch.setattr(hand.loop.sampler, "start", fails_once)
    for _ in range(12):
        hand.step()
    assert failed
    for request, generation in zip(requests, generations, strict=True):
        assert tokens_of(generation.completion) == tokens_of(answer(MODEL, request, static_shapes=static))


def test_a_step_that_fails_on_the_device_fails_its_answers_each_with_an_error_of_its_own_and_no_later_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hand = ByHand(static_shapes=True)
    generations = [hand.submit(random_request(seed, num_branches=1, max_tokens=8))[1] for seed in range(2)]
    for _ in range(3):
        hand.step()

    def fails(_: object) -> None:
        raise RuntimeError("the device is lost")

    with monkeypatch.context() as patch:
        patch.setattr(hand.loop.sampler, "finish", fails)
        hand.step()
    errors = []
    for generation in generations:
        with pytest.raises(GenerationError, match="the device is lost") as caught:
            generation.completion  # noqa: B018
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert "a step failed" in caplog.text
    assert hand.loop.runner.num_rows == 0
    later = random_request(5, num_branches=1, max_tokens=4)
    _, generation = hand.submit(later)
    for _ in range(8):
        hand.step()
    assert tokens_of(generation.completion) == tokens_of(answer(MODEL, later, static_shapes=True))


def test_a_short_prompt_does_not_wait_for_one_twenty_times_as_long() -> None:
    hand = ByHand(prefill_budget=16)
    long, _ = hand.submit(random_request(1, length=900, max_tokens=5))
    hand.step()
    short, generation = hand.submit(random_request(2, length=45, max_tokens=5))
    for _ in range(2 * 3 + 5):
        hand.step()
    assert tokens_of(generation.completion) == tokens_of(answer(MODEL, short.request))
    assert long.status is Status.PREFILLING


def test_a_long_prompt_does_not_starve_beside_short_ones_that_keep_coming() -> None:
    hand, generations = ByHand(prefill_budget=16), []
    long, _ = hand.submit(random_request(1, length=480, max_tokens=5))
    steps = 0
    while long.status is not Status.RUNNING:
        generations.append(hand.submit(random_request(steps + 2, length=16, max_tokens=2))[1])
        hand.step()
        steps += 1
    assert steps <= 2 * 480 / 16 + 1
    assert sum(g.num_chunks > 0 for g in generations) >= steps // 2 - 1


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("quantized", [False, True])
def test_a_long_sequence_and_short_ones_run_side_by_side_in_lanes(static: bool, quantized: bool) -> None:
    """The slots do not suffice for the short rows at the long one's length."""
    model = fresh_model()
    if quantized:
        quantize_model(model.model, "int8")
    hand = ByHand(model, static_shapes=static, max_cached_tokens=2 * 320 + 300)
    long = random_request(1, num_branches=1, length=300, max_tokens=20)
    short = [random_request(seed, num_branches=seed % 2, length=15, max_tokens=seed) for seed in range(2, 12)]
    requests = [long, *short]
    going = [hand.submit(request) for request in requests]
    together = 0
    while not hand.loop.idle:
        hand.step()
        running = [s for s, _ in going if s.status is Status.RUNNING]
        together += going[0][0] in running and len(running) > 2
        for s in running:
            held = [hand.loop.runner.lengths[row] for row in s.rows]
            # The newest token is not among them yet, unless tokens go out while the next step runs.
            newest = 0 if hand.loop.runner.is_asynchronous else 1
            assert held == [len(prompt) + s.num_generated - newest for prompt in s.request.prompts]
    assert together > 5
    assert len({s.lane for s, _ in going}) > 1
    for request, (_, generation) in zip(requests, going, strict=True):
        assert tokens_of(generation.completion) == tokens_of(answer(model, request, static_shapes=static))


@pytest.mark.parametrize("static", [False, True])
def test_rows_that_fail_leave_the_others_as_they_were(static: bool) -> None:
    hand = ByHand(static_shapes=static, max_cached_tokens=2 * 120 + 120)
    request, short = random_request(1, num_branches=1, length=100, max_tokens=20), random_request(2, length=15)
    fed = tokens_of(answer(MODEL, request))
    long, broken = hand.submit(request)
    _, generation = hand.submit(short)
    for _ in range(4):
        hand.step()
    assert long.status is Status.RUNNING
    newest = 0 if hand.loop.runner.is_asynchronous else 1  # what goes in next may not have gone out yet
    with failing_on(MODEL, fed[long.num_generated - newest], RuntimeError("no")):
        hand.step()
    while not hand.loop.idle:
        hand.step()
    with pytest.raises(GenerationError):
        broken.completion  # noqa: B018
    assert tokens_of(generation.completion) == tokens_of(answer(MODEL, short))


def test_waiting_sequences_join_as_others_leave() -> None:
    hand = ByHand(max_rows=3)
    first, second = (hand.submit(random_request(seed, num_branches=1, length=9, max_tokens=3))[0] for seed in (1, 2))
    third, _ = hand.submit(random_request(3, length=9))
    for _ in range(3):
        hand.step()
        assert (first.status, second.status, third.status) in [
            (Status.RUNNING, Status.WAITING, Status.WAITING),
            (Status.FINISHED, Status.WAITING, Status.WAITING),
        ]
    hand.step()
    assert (second.status, third.status) == (Status.RUNNING, Status.RUNNING)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), num_slots=st.sampled_from([250, 400, 131_072]))
def test_rows_belong_to_one_sequence_each_and_hold_its_tokens(seed: int, num_slots: int) -> None:
    rng, hand = random.Random(seed), ByHand(max_rows=9, prefill_budget=24, max_cached_tokens=num_slots)
    alive: list[tuple[Sequence, Generation]] = []
    for step in range(25):
        if rng.random() < 0.5 and step < 18:
            most = 4 if num_slots > 300 else 2  # whatever is drawn fits alone
            shape = {
                "num_branches": rng.randrange(most),
                "shared": rng.choice([0, 40]),
                "max_tokens": rng.randrange(1, 8),
            }
            alive.append(hand.submit(random_request(rng.randrange(1000), **shape)))
        if alive and rng.random() < 0.2:
            rng.choice(alive)[0].cancel()
        hand.step()
        running = [s for s, _ in alive if s.status is Status.RUNNING]
        rows = [row for s in running for row in s.rows]
        assert sorted(rows) == list(range(hand.loop.runner.num_rows))
        for s in running:
            held = [hand.loop.runner.lengths[row] for row in s.rows]
            # The newest token is not among them yet, unless tokens go out while the next step runs.
            newest = 0 if hand.loop.runner.is_asynchronous else 1
            assert held == [len(prompt) + s.num_generated - newest for prompt in s.request.prompts]
        assert hand.scheduler.num_rows == sum(s.num_rows for s, _ in alive if s in hand.scheduler.admitted)
    while not hand.loop.idle:
        hand.step()
    assert hand.loop.runner.num_rows == hand.loop.runner.num_bytes == 0
    assert all(isinstance(g.completion, Completion) for _, g in alive)
