"""Lanes: running rows side by side in slot caches, for a CPU.

A lane is as long as its longest row, and is decoded by a forward of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from la_agents.engine.kv_cache import KeyValues, SlotCache
from la_agents.engine.memory import return_free_memory
from la_agents.engine.row_numbers import close_gaps

__all__ = ["Lane", "Lanes"]

_WORTH_RETURNING = 2**26
"""Bytes of a slot cache from which on its memory is returned to the system when the last row leaves."""


class Lane:
    """Rows in one slot cache, in places without gaps."""

    def __init__(self, num_layers: int) -> None:
        self.cache = SlotCache(num_layers, 1, 0)
        self.lengths: list[int] = []

    def remove(self, place: int) -> int:
        """Drop a row; the last one moves to its place. The place of the last one before."""
        last = len(self.lengths) - 1
        if place != last:
            self.cache.move(last, place, self.lengths[last])
            self.lengths[place] = self.lengths[last]
        self.lengths.pop()
        return last


class Lanes:
    """The running rows, numbered as they joined; when rows leave, the last ones move into the gaps.

    Args:
        decode_lane: The logits after one token more a row of a lane, in the order of their places.
    """

    def __init__(self, num_layers: int, decode_lane: Callable[[Lane, Sequence[int]], Tensor]) -> None:
        self._num_layers = num_layers
        self._decode_lane = decode_lane
        self._lanes: dict[int, Lane] = {}
        self._places: list[tuple[Lane, int]] = []  # a row's lane, and where it stands in it

    @property
    def lengths(self) -> list[int]:
        """Tokens that each row holds."""
        return [lane.lengths[place] for lane, place in self._places]

    @property
    def num_bytes(self) -> int:
        return sum(lane.cache.num_bytes for lane in self._lanes.values())

    def add(self, rows: Sequence[KeyValues], *, lane: int, room_for: int, capacity: int) -> None:
        """Add rows; room is made for `room_for` in the lane, and for what each holds: they grow as they need."""
        joined = self._lanes.get(lane) or self._lanes.setdefault(lane, Lane(self._num_layers))
        lengths = [key_values[0][0].shape[1] for key_values in rows]
        first = len(joined.lengths)
        joined.cache.reserve(max(first + len(rows), room_for), max([*joined.lengths, *lengths]) + 1)
        for place, key_values in enumerate(rows, start=first):
            joined.cache.write(place, key_values)
        joined.lengths += lengths
        self._places += [(joined, first + i) for i in range(len(rows))]

    def remove(self, rows: Sequence[int]) -> dict[int, int]:
        """Drop rows; where the others moved, as {old number: new number}."""
        for row in sorted(rows, reverse=True):
            lane, place = self._places[row]
            before = lane.remove(place)
            self._places = [(lane, place) if there == (lane, before) else there for there in self._places]
        moved = close_gaps(self._places, rows)
        self._drop_empty()
        return moved

    def _drop_empty(self) -> None:
        for number, lane in list(self._lanes.items()):
            if lane.lengths:
                continue
            del self._lanes[number]
            if lane.cache.num_bytes > _WORTH_RETURNING:
                lane.cache = SlotCache(self._num_layers, 1, 0)
                return_free_memory()

    def decode(self, tokens: Sequence[int] | Tensor) -> Tensor:
        """Append one token to every row; the logits that follow, [rows, vocab]."""
        order: list[int] = []
        parts = []
        lanes = [lane for lane in self._lanes.values() if lane.lengths]
        for lane in lanes:
            rows = [row for row, (own, _) in enumerate(self._places) if own is lane]
            rows.sort(key=lambda row: self._places[row][1])
            lane.cache.reserve(len(rows), max(lane.lengths) + 1)
            parts.append(self._decode_lane(lane, [int(tokens[row]) for row in rows]))
            order += rows
        for lane in lanes:  # only now: where a lane fails, all are as they were
            lane.lengths = [length + 1 for length in lane.lengths]
        logits = parts[0] if len(parts) == 1 else torch.cat(parts)
        return logits if order == list(range(len(order))) else logits[torch.tensor(order).argsort()]

    def append(self, row: int, key_values: KeyValues) -> None:
        """Add one token's keys and values to a row."""
        lane, place = self._places[row]
        length = lane.lengths[place]
        lane.cache.reserve(len(lane.lengths), length + 1)
        lane.cache.write(place, key_values, start=length)
        lane.lengths[place] += 1

    def read(self, row: int, start: int, stop: int) -> KeyValues:
        lane, place = self._places[row]
        return lane.cache.read(place, start, stop)

    def clear(self, row: int) -> None:
        lane, place = self._places[row]
        lane.cache.clear(place)
