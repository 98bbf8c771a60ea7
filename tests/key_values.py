"""Random keys and values of one row, and whether two rows hold the same."""

from __future__ import annotations

import torch

from la_agents.engine.kv_cache import KeyValues

__all__ = ["DIM", "HEADS", "NUM_LAYERS", "key_values", "same"]

NUM_LAYERS, HEADS, DIM = 2, 2, 4


def key_values(num_tokens: int, seed: int = 0) -> KeyValues:
    generator = torch.Generator().manual_seed(seed)
    shape = (HEADS, num_tokens, DIM)
    return [
        (torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)) for _ in range(NUM_LAYERS)
    ]


def same(a: KeyValues, b: KeyValues) -> bool:
    return all(torch.equal(x, y) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True))
