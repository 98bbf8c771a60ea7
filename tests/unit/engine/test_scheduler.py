"""Who waits and who runs: nobody for ever, nothing beyond a limit. No model here."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from la_agents.engine.scheduler import Limits, Scheduler
from la_agents.engine.sequence import Sequence, Status
from la_agents.errors import ConfigurationError, EngineBusyError, RequestTooLargeError
from la_agents.requests import Request, Sampling

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
    total = 0
    for lane in {s.lane for s in scheduler.admitted}:
        inside = [s for s in scheduler.admitted if s.lane == lane]
        longest = [
            min(max(map(len, s.request.prompts)) + s.request.sampling.max_tokens, scheduler.limits.max_positions)
            for s in inside
        ]
        total += max(longest) * sum(1 + len(s.request.branches) for s in inside)
    return total


@settings(max_examples=150, deadline=None)
@given(shapes=st.lists(SHAPES, max_size=40), seed=st.integers(0, 2**32))
def test_limits_hold_and_all_are_served(shapes: list[tuple[int, int, int]], seed: int) -> None:
    scheduler, rng = Scheduler(LIMITS), random.Random(seed)
    submitted: list[Sequence] = []
    served: list[Sequence] = []
    refused = 0
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
    assert sorted(map(id, served)) == sorted(map(id, submitted))
    arrival = {id(s): number for number, s in enumerate(submitted)}
    for place, s in enumerate(served):
        assert sum(arrival[id(other)] > arrival[id(s)] for other in served[:place]) <= 16, "nobody is passed for ever"
    assert len(submitted) + refused == len(shapes)
    assert all(s.status is Status.FINISHED for s in submitted)


def test_a_long_request_does_not_run_alone() -> None:
    """Two rows of 65,256 leave 560 of the default's slots: a rectangle of three rows would need 195,768."""
    scheduler = Scheduler(Limits())
    long = sequence(length=65_000, num_branches=1, max_tokens=256)
    short = [sequence(length=100, max_tokens=80) for _ in range(4)]
    for s in (long, *short):
        scheduler.submit(s)
    assert scheduler.admit() == [long, *short[:3]]
    assert {s.lane for s in short[:3]} != {long.lane}
    assert len({s.lane for s in short[:3]}) == 1, "one forward for all of them"
    scheduler.remove(long)
    assert scheduler.admit() == [short[3]]


def test_rows_that_fit_side_by_side_share_a_lane() -> None:
    scheduler = Scheduler(Limits())
    for length in (10, 4000, 200, 90, 1000):
        scheduler.submit(sequence(length, num_branches=1))
    assert [s.lane for s in scheduler.admit()] == [0] * 5


def test_a_long_request_that_waits_for_slots_is_passed_by_some_and_then_by_nobody() -> None:
    scheduler = Scheduler(Limits(max_cached_tokens=1000, max_waiting=100))
    running, long = sequence(length=495, max_tokens=5), sequence(length=295, num_branches=1, max_tokens=5)
    short = [sequence(length=20, max_tokens=5) for _ in range(40)]
    for s in (running, long, *short):
        scheduler.submit(s)
    served = []
    for step in range(30):
        served += scheduler.admit()
        if step == 0:
            assert long not in served
            assert len(served) > 1, "the short ones do not wait for the long one"
        if long in served:
            break
        done = scheduler.admitted[-1]  # the short ones end; the one that is in the long one's way goes on
        scheduler.remove(done if done is not running or step < 20 else running)
    assert served.index(long) == 17, "behind the one that ran already and the sixteen that passed"


def test_nobody_passes_one_that_waits_for_rows() -> None:
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
@pytest.mark.parametrize("value", [0, -1, 2.0, "8", True])
def test_limits_are_positive_integers(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Limits(**{name: value})


@pytest.mark.parametrize("share", [0, -0.1, 1.1, True, "0.5", float("nan")])
def test_the_share_of_a_gpu_is_a_fraction(share: object) -> None:
    with pytest.raises(ConfigurationError, match="gpu_memory"):
        Limits(gpu_memory=share)  # type: ignore[arg-type]
