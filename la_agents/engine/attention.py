"""Attention over slots: every row keeps its tokens at their own positions, so one mask serves ragged rows.

Registered with transformers' attention interface; any model that follows it (Llama, Qwen, GPT-NeoX, Gemma, Mistral ...)
runs on it unchanged. A key is visible to a query iff its position is not later, and within the layer's window if it
has one; nothing else is needed, since keys are stored by position and never shifted.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

__all__ = ["ATTENTION", "AttentionMetadata", "can_flash", "flash"]

ATTENTION = "la_agents_slots"


class AttentionMetadata:
    """What one forward must know about its rows.

    Args:
        positions: [rows, n], the position of each new token in its own row.
        slots: [rows, n], where its key is stored: its position in a slot cache, its entry in a token pool.
        num_keys: How many slots, from the first, attention looks at.
    """

    def __init__(self, positions: Tensor, slots: Tensor, num_keys: int) -> None:
        self.positions = positions
        self.slots = slots
        self.num_keys = num_keys
        self.rows = torch.arange(positions.shape[0], device=positions.device).unsqueeze(1)
        self._masks: dict[int | None, Tensor] = {}

    @functools.cached_property
    def starts(self) -> Tensor:
        """Where each row's first key stands in a `TokenPool`, and 0, int32 [rows + 1]. No row ends with padding."""
        return nn.functional.pad(self.slots[:, -1] - self.positions[:, -1], (0, 1)).int()

    @functools.cached_property
    def lengths(self) -> Tensor:
        """Tokens of each row, the new ones included, int32 [rows]."""
        return (self.positions[:, -1] + 1).int()

    @functools.cached_property
    def query_starts(self) -> Tensor:
        """Where each row's queries begin when all rows' stand one after another, int32 [rows + 1]."""
        rows, n = self.positions.shape
        return torch.arange(0, n * (rows + 1), n, device=self.positions.device, dtype=torch.int32)

    def gather(self, pool: Tensor) -> Tensor:
        """The rows' visible entries of `pool [tokens, kv_heads, dim]` side by side, [rows, kv_heads, num_keys, dim]."""
        # Beyond its end a row's last entry again: what is masked must be its own, for another's nan would still spread.
        keys = torch.arange(self.num_keys, device=pool.device)
        places = self.starts[:-1, None] + torch.minimum(keys, self.lengths[:, None] - 1)
        return pool[places].transpose(1, 2)

    def mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """Additive mask [rows, 1, n, num_keys]; built once a forward for each window."""
        if window not in self._masks:
            keys = torch.arange(self.num_keys, device=self.positions.device)
            query = self.positions[:, None, :, None]
            visible = keys <= query
            if window is not None:
                visible &= keys > query - window
            mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
            self._masks[window] = mask.masked_fill_(~visible, float("-inf"))
        return self._masks[window]


def slot_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    metadata: AttentionMetadata,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of `query [rows, heads, n, dim]` over `key, value [rows, kv_heads, num_keys, dim]`, or a `TokenPool`'s.

    A single new token folds each group of query heads onto its key head, so grouped keys are never repeated in memory.
    Returns [rows, n, heads, dim], as transformers expects.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if key.dim() == 3:
        if softcap is None and s_aux is None and can_flash(query):
            out = flash(query.transpose(1, 2).flatten(0, 1), key, value, metadata, scale, sliding_window)
            return out.view(query.shape[0], query.shape[2], *out.shape[1:]), None
        key, value = metadata.gather(key), metadata.gather(value)
    rows, heads, n, _dim = query.shape
    kv_heads = key.shape[1]
    mask = metadata.mask(sliding_window, query.dtype)
    if softcap is not None or s_aux is not None:
        return _explicit(query, key, value, mask, scale, softcap, s_aux), None
    if n == 1 and kv_heads != heads:
        query = query.reshape(rows, kv_heads, heads // kv_heads, -1)
        out = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
        return out.reshape(rows, 1, heads, -1), None
    if kv_heads != heads:
        key, value = (x.repeat_interleave(heads // kv_heads, dim=1) for x in (key, value))
    out = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    return out.transpose(1, 2).contiguous(), None


def can_flash(query: Tensor) -> bool:
    """Whether `flash` takes such queries: of 16 bits, on a GPU, in heads of a size that its kernels know."""
    dim = query.shape[-1]
    return query.is_cuda and query.dtype in (torch.float16, torch.bfloat16) and dim % 8 == 0 and dim <= 256


def flash(
    query: Tensor, keys: Tensor, values: Tensor, metadata: AttentionMetadata, scale: float, window: int | None
) -> Tensor:
    """PyTorch's FlashAttention over rows of their real lengths; grouped keys are read once.

    Args:
        query: [rows * n, heads, dim], each row's tokens after those of the row before.
        keys: Of a `TokenPool`, [tokens, kv_heads, dim]; so are `values`.

    Returns:
        [rows * n, heads, dim]; zeros for padding.
    """
    n = metadata.positions.shape[1]
    out: Tensor = torch.ops.aten._flash_attention_forward(
        query,
        keys,
        values,
        metadata.query_starts,
        metadata.starts,
        n,
        metadata.num_keys,
        0.0,
        n > 1 and window is None,
        False,
        scale=scale,
        window_size_left=None if window is None else window - 1,
        window_size_right=None if window is None else 0,
        seqused_k=metadata.lengths,
    )[0]
    return out


def _explicit(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    scale: float,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """The same in plain matrix products, for soft-capped scores (Gemma 2) and attention sinks (gpt-oss)."""
    rows, heads, n, dim = query.shape
    groups = query.reshape(rows, key.shape[1], -1, n, dim)
    scores = torch.matmul(groups, key.unsqueeze(2).transpose(-1, -2)) * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = (scores + mask.unsqueeze(2)).float()
    if sinks is not None:
        sink = sinks.float().reshape(1, key.shape[1], -1, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, sink], dim=-1)
    weights = torch.softmax(scores, dim=-1)[..., : key.shape[2]].to(value.dtype)
    return torch.matmul(weights, value.unsqueeze(2)).reshape(rows, heads, n, -1).transpose(1, 2).contiguous()


AttentionInterface.register(ATTENTION, slot_attention)
