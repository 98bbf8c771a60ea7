"""Who waits and who runs: first come first served, never beyond a limit. No model here."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from la_agents.engine.scheduler import Limits, Scheduler
from la_agents.engine.sequence import Request, Sampling, Sequence, Status
from la_agents.errors import ConfigurationError, EngineBusyError, RequestTooLargeError

SHAPES = st.tuples(st.integers(1, 30), st.integers(0, 4), st.integers(1, 20))
LIMITS = Limits(max_rows=6, max_cached_tokens=150, max_waiting=5, max_positions=40)


def sequence(length: int = 3, num_branches: int = 0, max_tokens: int = 5) -> Sequence:
    return Sequence(
        Request(
            reference=(1,) * (length - 1 if num_branches and length > 1 else length),
            branches=((1,) * length,) * num_branches,
            weights=(1.0,) * num_branches,
            sampling=Sampling(max_tokens=max_tokens),
        )
    )


def slots(scheduler: Scheduler) -> int:
    """What the running batch may come to hold, written down apart from the scheduler's own sum."""
    longest = [
        min(max(map(len, s.request.prompts)) + s.request.sampling.max_tokens, scheduler.limits.max_positions)
        for s in scheduler.admitted
    ]
    return max(longest, default=0) * sum(1 + len(s.request.branches) for s in scheduler.admitted)


@settings(max_examples=150, deadline=None)
@given(shapes=st.lists(SHAPES, max_size=25), seed=st.integers(0, 2**32))
def test_limits_hold_and_all_are_served_in_order(shapes: list[tuple[int, int, int]], seed: int) -> None:
    scheduler, rng = Scheduler(LIMITS), random.Random(seed)
    submitted, served, refused = [], [], 0
    arrivals = [sequence(*shape) for shape in shapes]
    while arrivals or scheduler.waiting or scheduler.admitted:
        if arrivals and rng.random() < 0.6:
            arriving = arrivals.pop(0)
            try:
                scheduler.submit(arriving)
                submitted.append(arriving)
            except (EngineBusyError, RequestTooLargeError):
                refused += 1
        elif scheduler.admitted and rng.random() < 0.7:
            scheduler.remove(rng.choice(scheduler.admitted))
        served += scheduler.admit()
        assert len(scheduler.waiting) <= LIMITS.max_waiting
        assert scheduler.num_rows == sum(s.num_rows for s in scheduler.admitted) <= LIMITS.max_rows
        assert slots(scheduler) <= LIMITS.max_cached_tokens
        assert not (scheduler.waiting and not scheduler.admitted), "whoever heads the queue of an idle engine runs"
    assert served == submitted
    assert len(submitted) + refused == len(shapes)
    assert all(s.status is Status.FINISHED for s in submitted)


def test_nobody_passes_the_head_of_the_queue() -> None:
    scheduler = Scheduler(LIMITS)
    running, wide, narrow = sequence(num_branches=3), sequence(num_branches=4), sequence()
    for s in (running, wide, narrow):
        scheduler.submit(s)
    assert scheduler.admit() == [running]
    assert scheduler.admit() == [], "the narrow one fits, and waits behind the wide one"
    scheduler.remove(running)
    assert scheduler.admit() == [wide, narrow]


def test_a_full_queue_refuses_and_takes_again_when_it_empties() -> None:
    scheduler = Scheduler(LIMITS)
    for _ in range(LIMITS.max_waiting):
        scheduler.submit(sequence())
    with pytest.raises(EngineBusyError, match="at most 5 waiting"):
        scheduler.submit(sequence())
    assert len(scheduler.admit()) == 5
    scheduler.submit(sequence())


def test_waiting_sequences_can_be_removed() -> None:
    scheduler = Scheduler(LIMITS)
    first, second = sequence(), sequence()
    scheduler.submit(first)
    scheduler.submit(second)
    scheduler.remove(first)
    scheduler.remove(first)
    assert scheduler.admit() == [second]


@pytest.mark.parametrize(
    ("shape", "what"),
    [
        ({"length": 40}, "context of 40 tokens, got 40"),
        ({"num_branches": 6}, r"at most 6 rows .* got 7 \(1 reference \+ 6 branches\)"),
        ({"length": 30, "num_branches": 4, "max_tokens": 5}, r"at most 150 cached tokens .* got 175 \(5 rows\)"),
    ],
)
def test_what_could_never_run_is_refused_with_its_size(shape: dict[str, int], what: str) -> None:
    scheduler = Scheduler(LIMITS)
    with pytest.raises(RequestTooLargeError, match=what):
        scheduler.submit(sequence(**shape))
    assert not scheduler.waiting


def test_max_tokens_beyond_the_context_reserves_the_context() -> None:
    scheduler = Scheduler(LIMITS)
    endless = sequence(length=10, num_branches=2, max_tokens=10_000)
    assert scheduler.reserved_length(endless) == 40
    scheduler.submit(endless)
    assert scheduler.admit() == [endless]


@pytest.mark.parametrize("name", ["max_rows", "max_cached_tokens", "max_waiting", "prefill_budget", "max_positions"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "8"])
def test_limits_are_positive_integers(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Limits(**{name: value})
