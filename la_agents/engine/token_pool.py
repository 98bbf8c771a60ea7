"""Token pool: keys and values of rows of any lengths, one entry a token, in one reservation.

Each row has a stretch of entries as long as it may become, so nothing is moved while it grows and the tensors keep
their addresses, which is what CUDA graphs need. The last entry is scratch: padding writes there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from la_agents.engine.attention import AttentionMetadata
from la_agents.engine.kv_cache import KeyValues

__all__ = ["TokenPool"]


class _PoolLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]  # transformers is untyped here
    """One layer's `keys, values [tokens, kv_heads, head_dim]`, allocated when the first keys show the shape."""

    def __init__(self, num_tokens: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.num_tokens = num_tokens
        self.metadata: AttentionMetadata | None = None
        self.keys: Tensor
        self.values: Tensor

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate; the arguments are [..., kv_heads, tokens, head_dim]."""
        self.keys, self.values = (
            # Zeros, not uninitialised memory: a masked NaN would still poison softmax(-inf + NaN).
            like.new_zeros((self.num_tokens, like.shape[-3], like.shape[-1]))
            for like in (key_states, value_states)
        )
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store the new tokens' keys and values [rows, kv_heads, n, head_dim]; return the whole pool's."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.metadata is not None
        slots = self.metadata.slots
        self.keys[slots] = key_states.transpose(1, 2)
        self.values[slots] = value_states.transpose(1, 2)
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.num_tokens, 0

    def get_seq_length(self) -> int:
        return 0  # rows differ; positions are always passed explicitly

    def get_max_length(self) -> int:
        return -1


class TokenPool(Cache):
    """Keys and values of up to `num_tokens` tokens.

    Set `metadata` before each forward.
    """

    def __init__(self, num_layers: int, num_tokens: int) -> None:
        self.num_tokens = num_tokens
        self._layers = [_PoolLayer(num_tokens + 1) for _ in range(num_layers)]
        self._stretches: list[tuple[int, int]] = []  # start and end of each that is taken, in order of their starts
        super().__init__(layers=[*self._layers])

    @property
    def metadata(self) -> AttentionMetadata | None:
        return self._layers[0].metadata

    @metadata.setter
    def metadata(self, metadata: AttentionMetadata) -> None:
        for layer in self._layers:
            layer.metadata = metadata

    @property
    def scratch_slot(self) -> int:
        return self.num_tokens

    @property
    def tensors(self) -> list[tuple[Tensor, Tensor]]:
        """Every layer's keys and values, [tokens, kv_heads, head_dim] each."""
        return [(layer.keys, layer.values) for layer in self._layers]

    @property
    def num_bytes(self) -> int:
        """Bytes of the stretches that are taken; the reservation is larger."""
        taken = sum(end - start for start, end in self._stretches)
        return sum(
            x[:taken].nbytes for layer in self._layers if layer.is_initialized for x in (layer.keys, layer.values)
        )

    def allocate(self, num_tokens: int) -> int | None:
        """Take a stretch; its first entry, or None where no gap is as long (`compact` makes one of all gaps)."""
        start = 0
        for i, (begin, end) in enumerate([*self._stretches, (self.num_tokens, self.num_tokens)]):
            if begin - start >= num_tokens:
                self._stretches.insert(i, (start, start + num_tokens))
                return start
            start = end
        return None

    def free(self, start: int) -> None:
        self._stretches = [stretch for stretch in self._stretches if stretch[0] != start]

    def compact(self) -> dict[int, int]:
        """Move all stretches together; where each went, as {old start: new start}."""
        moved, end = {}, 0
        for begin, stop in self._stretches:
            moved[begin] = end
            if begin != end:
                for x in (x for pair in self.tensors for x in pair):
                    x[end : end + stop - begin] = x[begin:stop].clone()
            end += stop - begin
        self._stretches = [(moved[begin], moved[begin] + stop - begin) for begin, stop in self._stretches]
        return moved

    def write(self, start: int, key_values: KeyValues) -> None:
        """Fill entries from `start` on with one row's keys and values."""
        for layer, (keys, values) in zip(self._layers, key_values, strict=True):
            if not layer.is_initialized:
                layer.lazy_initialization(keys, values)
            stop = start + keys.shape[1]
            layer.keys[start:stop] = keys.transpose(0, 1)
            layer.values[start:stop] = values.transpose(0, 1)

    def read(self, start: int, stop: int) -> KeyValues:
        """A copy of entries `start:stop`, as one row's keys and values."""
        own = torch.contiguous_format
        return [
            (
                k[start:stop].transpose(0, 1).clone(memory_format=own),
                v[start:stop].transpose(0, 1).clone(memory_format=own),
            )
            for k, v in self.tensors
        ]

    def clear(self, start: int, stop: int) -> None:
        """Zero entries: what is beyond a row's length is masked, but a masked nan is still one."""
        for keys, values in self.tensors:
            keys[start:stop] = 0
            values[start:stop] = 0
