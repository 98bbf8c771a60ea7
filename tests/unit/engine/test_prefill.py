"""Prompts are computed within a budget, first come first served, each token once, common prefixes once for all rows.

No model: a fake runner keeps, as keys and values, the tokens that it was given.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from la_agents.engine.prefill import Prefill, PrefillRow, fair_order, plan_prefill
from la_agents.engine.sequence import Sequence
from la_agents.requests import Request

TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=40)
Parts = list[tuple[int, ...]]


def sequence(prompts: list[tuple[int, ...]]) -> Sequence:
    return Sequence(Request(reference=prompts[0], branches=tuple(prompts[1:]), weights=(1.0,) * (len(prompts) - 1)))


@st.composite
def prefills(draw: st.DrawFn) -> Prefill:
    """A sequence with a common start of any length, some of each row cached as blocks of any size."""
    start = draw(st.lists(st.integers(0, 3), max_size=80))
    prompts = [(*start, *draw(TOKENS)) for _ in range(draw(st.integers(1, 4)))]
    block = draw(st.sampled_from([4, 16]))
    cached_start = draw(st.integers(0, len(start))) // block * block
    cached: list[tuple[Parts, int]] = []
    for prompt in prompts:
        more = draw(st.integers(0, len(prompt) - 1 - cached_start)) // block * block
        num = cached_start + more if draw(st.booleans()) else cached_start
        cached.append(([prompt[i : i + block] for i in range(0, num, block)], num))
    return Prefill(sequence(prompts), cached, share=draw(st.booleans()))


def compute(row: PrefillRow, num_tokens: int) -> None:
    covered = [token for part in row.parts for token in part]
    assert covered == list(row.tokens[: row.num_done]), "a piece starts where its past ends"
    row.advance(num_tokens, row.tokens[row.num_done : row.num_done + num_tokens])


@settings(max_examples=150, deadline=None)
@given(waiting=st.lists(prefills(), min_size=1, max_size=5), budget=st.integers(1, 64))
def test_every_token_is_computed_once_within_the_budget_first_come_first_served(
    waiting: list[Prefill], budget: int
) -> None:
    computed = {id(p): 0 for p in waiting}
    steps = 0
    while any(not p.done for p in waiting):
        plan = plan_prefill([p for p in waiting if not p.done], budget)
        assert plan, "nothing starves"
        assert plan[0][0].sequence is next(p.sequence for p in waiting if not p.done), "the first makes progress"
        assert len(plan) * max(n for _, n in plan) <= budget, "padding counts"
        assert len({id(row) for row, _ in plan}) == len(plan)
        order = [p.sequence for p in waiting]
        places = [order.index(row.sequence) for row, _ in plan]
        assert places == sorted(places)
        for row, n in plan:
            assert 1 <= n <= row.num_left
            compute(row, n)
            computed[id(next(p for p in waiting if p.sequence is row.sequence))] += n
        steps += 1
        assert steps < 2000
    for p in waiting:
        for row in p.rows:
            assert [token for part in row.parts for token in part] == list(row.tokens)
        assert computed[id(p)] <= sum(len(row.tokens) for row in p.rows) - p.sequence.num_cached_tokens


@settings(max_examples=100, deadline=None)
@given(
    start=st.integers(32, 100),
    ends=st.lists(st.integers(1, 10), min_size=2, max_size=4),
    budget=st.integers(1, 300),
)
def test_a_common_prefix_is_computed_once(start: int, ends: list[int], budget: int) -> None:
    prompts = [(7,) * start + (i,) * length for i, length in enumerate(ends)]
    prefill = Prefill(sequence(prompts), [([], 0)] * len(prompts))
    total = 0
    while not prefill.done:
        for row, n in plan_prefill([prefill], budget):
            compute(row, n)
            total += n
    assert total == start + sum(ends)


def test_a_common_prefix_too_short_to_pay_for_a_forward_is_not_split_off() -> None:
    prompts = [(7,) * 12 + (i,) * 5 for i in range(2)]
    prefill = Prefill(sequence(prompts), [([], 0)] * 2)
    assert [row.tokens for row in prefill.pending] == prompts
    many = Prefill(sequence([*prompts, (7,) * 12 + (9,) * 5]), [([], 0)] * 3)
    assert [row.tokens for row in many.pending] == [(7,) * 12], "for three rows it pays"


def test_equal_prompts_still_leave_each_row_its_last_token() -> None:
    prefill = Prefill(sequence([(7,) * 50] * 2), [([], 0)] * 2)
    (trunk,) = prefill.pending
    compute(trunk, trunk.num_left)
    assert [row.num_left for row in prefill.pending] == [1, 1]


def test_what_is_cached_is_not_computed_and_is_counted() -> None:
    prompts = [(7,) * 64 + (i,) * 5 for i in range(2)]
    blocks = [(7,) * 32, (7,) * 32]
    prefill = Prefill(sequence(prompts), [(blocks, 64), (blocks, 64)])
    assert prefill.sequence.num_cached_tokens == 128
    assert [row.num_left for row in prefill.pending] == [5, 5]


@pytest.mark.parametrize("long_first", [True, False])
def test_a_long_prompt_and_short_ones_share_the_steps(long_first: bool) -> None:
    """One prompt is 20 times as long as the others, which keep coming."""
    long = Prefill(sequence([(9,) * 400]), [([], 0)])
    waiting, came, steps = [long], {}, 0
    done: dict[int, int] = {}
    while not long.done:
        if steps % 4 == 0:
            short = Prefill(sequence([(steps % 7,) * 20]), [([], 0)])
            waiting = [*waiting, short] if long_first else [short, *waiting]
            came[id(short)] = steps
        for row, n in plan_prefill(fair_order(waiting, steps), 20):
            compute(row, n)
        steps += 1
        done.update({id(p): steps for p in waiting if p.done and id(p) not in done})
        waiting = [p for p in waiting if not p.done]
        assert steps <= 60
    assert max(done[key] - came[key] for key in came if key in done) <= 2, "not for all of the long one"
    assert steps <= 2 * 400 / 20, "nor does the long one starve"
    assert len(done) >= len(came)


def test_what_is_left_counts_a_common_prefix_once() -> None:
    prefill = Prefill(sequence([(7,) * 50 + (1,) * 5, (7,) * 50 + (2,) * 8]), [([], 0)] * 2)
    left = []
    while not prefill.done:
        left.append(prefill.num_left)
        for row, n in plan_prefill([prefill], 20):
            compute(row, n)
    assert left == [63, 43, 23, 13]


def test_short_prompts_share_a_step_and_a_long_one_takes_its_own_time() -> None:
    short = [Prefill(sequence([(i,) * 10]), [([], 0)]) for i in range(3)]
    long = Prefill(sequence([(9,) * 100]), [([], 0)])
    plan = plan_prefill([*short, long], 64)
    assert [n for _, n in plan] == [10, 10, 10, 16], "the long one takes what is left beside the others"
    plan = plan_prefill([long, *short], 64)
    assert [n for _, n in plan] == [64], "and alone the whole budget"
