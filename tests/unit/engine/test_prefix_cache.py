"""Prefixes found again: the right keys and values, for those who may have them, within the bytes allowed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from la_agents.engine.kv_cache import KeyValues
from la_agents.engine.prefix_cache import PrefixCache

BLOCK = 4
NUM_LAYERS = 2
BLOCK_BYTES = NUM_LAYERS * 2 * BLOCK * 8

TOKENS = st.lists(st.integers(0, 1), max_size=24)
SALTS = st.sampled_from(["", "alice", "bob"])


def reader(tokens: list[int]) -> Callable[[int, int], KeyValues]:
    """Keys and values of a row, each the sum of the tokens up to it, as attention would mix them."""
    sums = torch.tensor(tokens, dtype=torch.int64).cumsum(0)

    def read(start: int, stop: int) -> KeyValues:
        part = sums[start:stop].reshape(1, -1, 1)
        return [(part + layer, -part - layer) for layer in range(NUM_LAYERS)]

    return read


def matches(blocks: list[KeyValues], tokens: list[int]) -> bool:
    read = reader(tokens)
    wanted = [read(i * BLOCK, (i + 1) * BLOCK) for i in range(len(blocks))]
    return all(
        torch.equal(a, b)
        for block, want in zip(blocks, wanted, strict=True)
        for pair, want_pair in zip(block, want, strict=True)
        for a, b in zip(pair, want_pair, strict=True)
    )


def insert(cache: PrefixCache, tokens: list[int], **who: object) -> None:
    cache.insert(tokens, reader(tokens), **who)


def cache_of(num_blocks: int) -> PrefixCache:
    return PrefixCache(num_blocks * BLOCK_BYTES, BLOCK)


class Model:
    """What the cache should do, naively: blocks by the whole prefix in plain sight, least recently used out first."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.blocks: OrderedDict[tuple[object, ...], None] = OrderedDict()

    def keys(self, tokens: list[int], salt: str, num_public: int) -> list[tuple[object, ...]]:
        ends = range(BLOCK, len(tokens) + 1, BLOCK)
        return [(tuple(tokens[:end]), *(salt if e > num_public else "" for e in ends if e <= end)) for end in ends]

    def touch(self, keys: list[tuple[object, ...]]) -> None:
        for key in reversed(keys):
            self.blocks.move_to_end(key)

    def find(self, *who: object) -> int:
        keys = self.keys(*who)
        found = next((i for i, key in enumerate(keys) if key not in self.blocks), len(keys))
        self.touch(keys[:found])
        return found

    def insert(self, *who: object) -> None:
        keys = self.keys(*who)
        self.blocks |= dict.fromkeys(keys)
        self.touch(keys)
        while len(self.blocks) > self.num_blocks:
            self.blocks.popitem(last=False)


@settings(max_examples=200, deadline=None)
@given(
    calls=st.lists(st.tuples(st.booleans(), TOKENS, SALTS, st.integers(0, 24)), max_size=40),
    num_blocks=st.integers(1, 12),
)
def test_behaves_as_an_lru_map_of_whole_prefixes(
    calls: list[tuple[bool, list[int], str, int]], num_blocks: int
) -> None:
    cache, model = cache_of(num_blocks), Model(num_blocks)
    for is_insert, tokens, salt, num_public in calls:
        if is_insert:
            insert(cache, tokens, salt=salt, num_public=num_public)
            model.insert(tokens, salt, num_public)
        else:
            blocks = cache.find(tokens, salt=salt, num_public=num_public)
            assert len(blocks) == model.find(tokens, salt, num_public)
            assert matches(blocks, tokens)
        assert cache.num_bytes == len(cache) * BLOCK_BYTES <= cache.max_bytes


@settings(max_examples=100, deadline=None)
@given(tokens=st.lists(st.integers(0, 5), min_size=BLOCK, max_size=40), num_public=st.integers(0, 40))
def test_another_user_finds_the_public_tokens_and_no_more(tokens: list[int], num_public: int) -> None:
    cache = cache_of(100)
    insert(cache, tokens, salt="alice", num_public=num_public)
    own = cache.find(tokens, salt="alice", num_public=num_public)
    assert len(own) == len(tokens) // BLOCK
    for claimed in (num_public, 0, 10**6):
        for salt in ("bob", ""):
            found = len(cache.find(tokens, salt=salt, num_public=claimed)) * BLOCK
            assert found <= num_public, "whatever they claim to be public"
    assert len(cache.find(tokens, salt="bob", num_public=num_public)) == min(num_public, len(tokens)) // BLOCK


def test_what_one_user_told_is_not_found_through_a_public_start() -> None:
    cache = cache_of(100)
    public, secret = [1] * BLOCK, [2] * BLOCK
    insert(cache, public + secret, salt="alice", num_public=BLOCK)
    insert(cache, public, salt="bob", num_public=BLOCK)
    assert len(cache.find(public + secret, salt="bob", num_public=BLOCK)) == 1
    assert len(cache.find(public + secret, salt="bob", num_public=2 * BLOCK)) == 1
    assert len(cache.find(public + secret, salt="alice", num_public=BLOCK)) == 2


def test_a_block_is_found_after_its_own_prefix_only() -> None:
    cache = cache_of(100)
    insert(cache, [1] * BLOCK + [2] * BLOCK)
    assert cache.find([2] * BLOCK) == []
    assert cache.find([3] * BLOCK + [2] * BLOCK) == []
    assert len(cache.find([1] * BLOCK + [3] * BLOCK)) == 1
    assert cache.find([1] * (BLOCK - 1)) == []


def test_a_start_outlives_what_builds_on_it() -> None:
    cache = cache_of(3)
    start = [1] * BLOCK
    insert(cache, start + [2] * BLOCK + [3] * BLOCK)
    insert(cache, start + [4] * BLOCK)
    assert len(cache.find(start + [4] * BLOCK)) == 2
    assert len(cache.find(start + [2] * BLOCK + [3] * BLOCK)) == 2, "its end went, and nothing unreachable is kept"


def test_a_prompt_larger_than_the_cache_leaves_its_beginning() -> None:
    cache = cache_of(2)
    tokens = [1] * 10 * BLOCK
    insert(cache, tokens)
    assert len(cache.find(tokens)) == 2


def test_only_new_blocks_are_read() -> None:
    cache, asked = cache_of(10), []
    tokens = [1] * 3 * BLOCK
    insert(cache, tokens[: 2 * BLOCK])
    cache.insert(tokens, lambda start, stop: asked.append((start, stop)) or reader(tokens)(start, stop))
    assert asked == [(2 * BLOCK, 3 * BLOCK)]


def test_no_bytes_switch_it_off_and_clear_empties_it() -> None:
    off = PrefixCache(0, BLOCK)
    insert(off, [1] * BLOCK)
    assert len(off) == 0
    assert off.find([1] * BLOCK) == []
    cache = cache_of(4)
    insert(cache, [1] * BLOCK)
    cache.clear()
    assert (len(cache), cache.num_bytes) == (0, 0)
    assert cache.find([1] * BLOCK) == []


def test_hits_are_counted_in_tokens() -> None:
    cache = cache_of(4)
    insert(cache, [1] * 2 * BLOCK)
    cache.find([1] * (2 * BLOCK + 3))
    cache.find([2] * BLOCK)
    assert (cache.num_hit_tokens, cache.num_looked_up_tokens) == (2 * BLOCK, 3 * BLOCK + 3)
