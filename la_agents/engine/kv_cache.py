"""Slot cache: keys and values of the running rows on a CPU, one slot a position, for transformers' models.

Row r keeps the key of its token at position j in `keys[r, :, j]`. Rows of any lengths stand side by side without
padding; what lies beyond a row's length is never visible (`attention.AttentionMetadata`), so it need not be cleared.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from la_agents.engine.attention import AttentionMetadata

__all__ = ["KeyValues", "SlotCache", "concatenate"]

_SHRINK_ABOVE = 4
"""Times more room than needed that a cache may have before growing in one way makes it shrink in the other."""

KeyValues = list[tuple[Tensor, Tensor]]
"""One row's keys and values, a pair a layer, each [kv_heads, tokens, head_dim]."""


class _SlotLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]  # transformers is untyped here
    """One layer's `keys, values [rows, kv_heads, slots, head_dim]`, allocated when the first keys show the shape."""

    def __init__(self, owner: SlotCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Weak: a cycle would keep gigabytes until Python's collector happens to look.
        self._owner: SlotCache = weakref.proxy(owner)
        self.keys: Tensor
        self.values: Tensor

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys = self._empty(key_states)
        self.values = self._empty(value_states)
        self.is_initialized = True

    def _empty(self, like: Tensor) -> Tensor:
        # Zeros, not uninitialised memory: a masked NaN would still poison softmax(-inf + NaN).
        return like.new_zeros((self._owner.num_rows, like.shape[1], self._owner.num_slots, like.shape[3]))

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store the new tokens' keys and values [rows, kv_heads, n, head_dim]; return views of all visible ones."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        metadata = self._owner.metadata
        assert metadata is not None
        num_rows = key_states.shape[0]
        self.keys[metadata.rows, :, metadata.slots] = key_states.transpose(1, 2)
        self.values[metadata.rows, :, metadata.slots] = value_states.transpose(1, 2)
        return self.keys[:num_rows, :, : metadata.num_keys], self.values[:num_rows, :, : metadata.num_keys]

    def resized(self, num_rows: int, num_slots: int) -> tuple[Tensor, Tensor]:
        """Keys and values copied into tensors of another size, as far as they fit."""
        return self._copied(self.keys, num_rows, num_slots), self._copied(self.values, num_rows, num_slots)

    def _copied(self, old: Tensor, num_rows: int, num_slots: int) -> Tensor:
        new = old.new_zeros((num_rows, old.shape[1], num_slots, old.shape[3]))
        rows, slots = min(old.shape[0], num_rows), min(old.shape[2], num_slots)
        new[:rows, :, :slots] = old[:rows, :, :slots]
        return new

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._owner.num_slots, 0

    def get_seq_length(self) -> int:
        return 0  # rows differ; positions are always passed explicitly

    def get_max_length(self) -> int:
        return -1


class SlotCache(Cache):
    """Keys and values of up to `num_rows` rows of up to `num_slots` tokens.

    Set `metadata` before each forward. Rows are addressed by their place in the batch.
    """

    def __init__(self, num_layers: int, num_rows: int, num_slots: int) -> None:
        self.num_rows = num_rows
        self.num_slots = num_slots
        self.metadata: AttentionMetadata | None = None
        self._slots = [_SlotLayer(self) for _ in range(num_layers)]
        super().__init__(layers=[*self._slots])

    @property
    def tensors(self) -> list[tuple[Tensor, Tensor]]:
        """Every layer's keys and values, [rows, kv_heads, slots, head_dim] each."""
        return [(layer.keys, layer.values) for layer in self._slots]

    @property
    def num_bytes(self) -> int:
        return sum(x.nbytes for layer in self._slots if layer.is_initialized for x in (layer.keys, layer.values))

    def reserve(self, num_rows: int, num_tokens: int) -> None:
        """Make room; what the first `num_rows` rows store stays.

        Grows to the next power of two of rows and multiple of 256 tokens. Many short rows after one long one do not
        all get its length. If memory runs out, nothing has changed.
        """
        if num_rows <= self.num_rows and num_tokens <= self.num_slots:
            return
        needed = (1 << (num_rows - 1).bit_length(), -(-num_tokens // 256) * 256)
        rows, slots = max(self.num_rows, needed[0]), max(self.num_slots, needed[1])
        if rows * slots > _SHRINK_ABOVE * needed[0] * needed[1]:
            rows, slots = needed
        layers = [layer for layer in self._slots if layer.is_initialized]
        resized = [layer.resized(rows, slots) for layer in layers]
        for layer, (keys, values) in zip(layers, resized, strict=True):
            layer.keys, layer.values = keys, values
        self.num_rows, self.num_slots = rows, slots

    def allocate(self, num_heads: int, head_dim: int) -> None:
        """Make the tensors now, float32 on the CPU, for a decoder that writes into them by itself."""
        like = torch.empty(self.num_rows, num_heads, 0, head_dim)
        for layer in self._slots:
            layer.lazy_initialization(like, like)

    def write(self, row: int, key_values: KeyValues, start: int = 0) -> None:
        """Fill row `row` from slot `start` on."""
        for layer, (keys, values) in zip(self._slots, key_values, strict=True):
            if not layer.is_initialized:
                layer.lazy_initialization(keys.unsqueeze(0), values.unsqueeze(0))
            stop = start + keys.shape[1]
            layer.keys[row, :, start:stop] = keys
            layer.values[row, :, start:stop] = values

    def read(self, row: int, start: int, stop: int) -> KeyValues:
        """A copy of row `row`'s tokens `start:stop`."""
        return [(x.keys[row, :, start:stop].clone(), x.values[row, :, start:stop].clone()) for x in self._slots]

    def clear(self, row: int) -> None:
        """Zero a row: what is beyond a row's length is masked, but a masked nan is still one."""
        for layer in self._slots:
            layer.keys[row] = 0
            layer.values[row] = 0

    def move(self, source: int, target: int, num_tokens: int) -> None:
        """Copy one row onto another, to close the gap a finished row leaves."""
        for layer in self._slots:
            layer.keys[target, :, :num_tokens] = layer.keys[source, :, :num_tokens]
            layer.values[target, :, :num_tokens] = layer.values[source, :, :num_tokens]


def concatenate(parts: list[KeyValues]) -> KeyValues:
    """Join parts of one row in order."""
    if len(parts) == 1:
        return parts[0]
    return [
        (torch.cat([p[i][0] for p in parts], dim=1), torch.cat([p[i][1] for p in parts], dim=1))
        for i in range(len(parts[0]))
    ]
