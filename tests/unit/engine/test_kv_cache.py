"""Slots for keys and values: they grow with what is in them, give back, and survive running out of memory."""

from __future__ import annotations

import gc
import weakref

import pytest

from la_agents.engine.kv_cache import SlotCache, concatenate
from tests.key_values import NUM_LAYERS, key_values, same


def filled(*lengths: int) -> SlotCache:
    cache = SlotCache(NUM_LAYERS, 1, 0)
    cache.reserve(len(lengths), max(lengths))
    for row, length in enumerate(lengths):
        cache.write(row, key_values(length, seed=row))
    return cache


def holds(cache: SlotCache, *lengths: int) -> bool:
    return all(same(cache.read(row, 0, n), key_values(n, seed=row)) for row, n in enumerate(lengths))


def test_growing_keeps_what_is_stored() -> None:
    cache = filled(5, 100)
    for rows, tokens in ((2, 300), (5, 300), (40, 1000)):
        cache.reserve(rows, tokens)
        assert cache.num_rows >= rows
        assert cache.num_slots >= tokens
        assert holds(cache, 5, 100)


def test_room_that_is_there_is_not_allocated_again() -> None:
    cache = filled(5, 100)
    at = cache.layers[0].keys.data_ptr()
    cache.reserve(2, 200)
    assert cache.layers[0].keys.data_ptr() == at
    cache.reserve(2, 300)
    assert cache.num_slots >= 300


def test_many_short_rows_after_a_long_one_do_not_get_its_length() -> None:
    cache = filled(5, 50_000)
    cache.reserve(64, 100)
    assert cache.num_rows * cache.num_slots < 64 * 300
    assert holds(cache, 5)


def test_running_out_of_memory_changes_nothing() -> None:
    cache = filled(5, 100)
    before = (cache.num_rows, cache.num_slots, cache.num_bytes)
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        cache.reserve(1 << 22, 1 << 22)
    assert (cache.num_rows, cache.num_slots, cache.num_bytes) == before
    assert holds(cache, 5, 100)
    cache.reserve(3, 400)
    assert holds(cache, 5, 100)


def test_a_moved_row_is_the_old_one_and_a_cleared_one_is_zero() -> None:
    cache = filled(5, 100)
    cache.move(1, 0, 100)
    assert same(cache.read(0, 0, 100), key_values(100, seed=1))
    cache.clear(1)
    assert all(not x.any() for pair in cache.read(1, 0, cache.num_slots) for x in pair)
    assert same(cache.read(0, 0, 100), key_values(100, seed=1))


def test_parts_join_in_order() -> None:
    whole = key_values(10)
    parts = [[(k[:, a:b], v[:, a:b]) for k, v in whole] for a, b in ((0, 3), (3, 4), (4, 10))]
    assert same(concatenate(parts), whole)
    cache = filled(1)
    cache.write(0, parts[1], start=3)
    assert same(cache.read(0, 3, 4), parts[1])


def test_a_cache_that_is_dropped_is_gone_at_once() -> None:
    """Not when Python's collector next looks for cycles: it counts objects, and these are few but large."""
    cache = SlotCache(2, 3, 10)
    cache.allocate(1, 4)
    keys = weakref.ref(cache.tensors[0][0])
    gc.disable()
    try:
        del cache
        assert keys() is None
    finally:
        gc.enable()
