"""Pooled rows: the running rows in one token pool, decoded together in fixed shapes: what a GPU replays as graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from la_agents.engine.kv_cache import KeyValues
from la_agents.engine.row_numbers import close_gaps
from la_agents.engine.static_decoder import StaticDecoder
from la_agents.engine.token_pool import TokenPool

__all__ = ["PooledRows"]


@dataclass
class _Row:
    start: int  # in the pool
    length: int


class PooledRows:
    """The running rows, numbered as they joined; when rows leave, the last ones move into the gaps.

    Rows of any lengths stand in one pool, and nothing is copied when one leaves.

    Args:
        num_tokens: What the pool holds.
    """

    def __init__(self, num_layers: int, num_tokens: int, decoder: StaticDecoder) -> None:
        self._pool = TokenPool(num_layers, num_tokens)
        self._decoder = decoder
        self._rows: list[_Row] = []

    @property
    def lengths(self) -> list[int]:
        """Tokens that each row holds."""
        return [row.length for row in self._rows]

    @property
    def num_bytes(self) -> int:
        return self._pool.num_bytes

    def add(self, rows: Sequence[KeyValues], *, lane: int, room_for: int, capacity: int) -> None:
        """Add rows that may each come to hold `capacity` tokens.

        Raises:
            MemoryError: the pool is smaller than what was asked for in all.
        """
        added: list[_Row] = []
        for key_values in rows:
            start = self._allocate(capacity, added)
            self._pool.write(start, key_values)
            added.append(_Row(start, key_values[0][0].shape[1]))
        self._rows += added

    def _allocate(self, num_tokens: int, added: list[_Row]) -> int:
        start = self._pool.allocate(num_tokens)
        if start is None:
            moved = self._pool.compact()
            for row in (*self._rows, *added):
                row.start = moved[row.start]
            start = self._pool.allocate(num_tokens)
        if start is None:
            for row in added:
                self._pool.free(row.start)
            msg = f"Expected {num_tokens} free tokens among {self._pool.num_tokens}; raise max_cached_tokens."
            raise MemoryError(msg)
        return start

    def remove(self, rows: Sequence[int]) -> dict[int, int]:
        """Drop rows; where the others moved, as {old number: new number}."""
        for row in rows:
            self._pool.free(self._rows[row].start)
        return close_gaps(self._rows, rows)

    def decode(self, tokens: Sequence[int] | Tensor) -> Tensor:
        """Append one token to every row; the logits that follow, [rows, vocab], which the next step overwrites."""
        positions = self.lengths
        slots = [row.start + row.length for row in self._rows]
        logits = self._decoder.decode(tokens, positions, slots, self._pool)
        for row in self._rows:
            row.length += 1
        return logits

    def append(self, row: int, key_values: KeyValues) -> None:
        """Add one token's keys and values to a row."""
        own = self._rows[row]
        self._pool.write(own.start + own.length, key_values)
        own.length += 1

    def read(self, row: int, start: int, stop: int) -> KeyValues:
        first = self._rows[row].start
        return self._pool.read(first + start, first + stop)

    def clear(self, row: int) -> None:
        own = self._rows[row]
        self._pool.clear(own.start, own.start + own.length)
