"""A pool of tokens: stretches are taken and given back, move together where gaps are short, and keep what they hold."""

from __future__ import annotations

import random

import pytest
import torch

from la_agents.engine.pooled_rows import PooledRows
from la_agents.engine.static_decoder import StaticDecoder
from la_agents.engine.token_pool import TokenPool
from tests.key_values import NUM_LAYERS, key_values, same


def test_a_gap_is_taken_again_and_the_tensors_stay_where_they_are() -> None:
    pool = TokenPool(NUM_LAYERS, 30)
    first, second, third = (pool.allocate(10) for _ in range(3))
    assert (first, second, third) == (0, 10, 20)
    assert pool.allocate(1) is None
    pool.write(0, key_values(10))
    at = pool.tensors[0][0].data_ptr()
    pool.free(10)
    assert pool.allocate(11) is None
    assert pool.allocate(4) == 10
    assert pool.allocate(6) == 14
    assert pool.tensors[0][0].data_ptr() == at
    assert same(pool.read(0, 10), key_values(10))


def test_gaps_become_one_and_what_is_stored_moves_along() -> None:
    pool = TokenPool(NUM_LAYERS, 40)
    starts = [pool.allocate(10) for _ in range(4)]
    for seed, start in enumerate(starts):
        assert start is not None
        pool.write(start, key_values(10, seed))
    pool.free(0)
    pool.free(20)
    assert pool.allocate(20) is None
    assert pool.compact() == {10: 0, 30: 10}
    assert same(pool.read(0, 10), key_values(10, 1))
    assert same(pool.read(10, 20), key_values(10, 3))
    assert pool.allocate(20) == 20


def rows_of(num_tokens: int) -> PooledRows:
    def nothing(*_: object) -> torch.Tensor:
        raise AssertionError

    return PooledRows(NUM_LAYERS, num_tokens, StaticDecoder(nothing, torch.device("cpu")))


@pytest.mark.parametrize("seed", range(20))
def test_rows_keep_what_they_hold_however_others_come_and_go(seed: int) -> None:
    draws, rows = random.Random(seed), rows_of(100)
    held: list[tuple[int, int]] = []  # seed and length of each row, by number
    taken = 0
    capacities: list[int] = []
    for step in range(60):
        capacity = draws.randrange(2, 30)
        if taken + capacity <= 100 and draws.random() < 0.6:
            length = draws.randrange(1, capacity)
            rows.add([key_values(length, step)], lane=0, room_for=0, capacity=capacity)
            held.append((step, length))
            capacities.append(capacity)
            taken += capacity
        elif held:
            leaving = draws.sample(range(len(held)), draws.randrange(1, len(held) + 1))
            moved = rows.remove(leaving)
            taken -= sum(capacities[row] for row in leaving)
            kept = [row for row in range(len(held)) if row not in leaving]
            numbers = {moved.get(row, row): row for row in kept}
            assert sorted(numbers) == list(range(len(kept)))
            held = [held[numbers[row]] for row in range(len(kept))]
            capacities = [capacities[numbers[row]] for row in range(len(kept))]
        assert rows.lengths == [length for _, length in held]
        for row, (filled, length) in enumerate(held):
            assert same(rows.read(row, 0, length), key_values(length, filled))


def test_more_than_the_pool_holds_is_refused_and_takes_nothing() -> None:
    rows = rows_of(20)
    rows.add([key_values(5)], lane=0, room_for=0, capacity=10)
    with pytest.raises(MemoryError, match="max_cached_tokens"):
        rows.add([key_values(4), key_values(4)], lane=0, room_for=0, capacity=6)
    assert rows.lengths == [5]
    rows.add([key_values(9)], lane=0, room_for=0, capacity=10)
    assert rows.lengths == [5, 9]
