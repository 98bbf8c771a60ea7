"""Memory: what fits a GPU, and what the C library keeps for later goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from la_agents.models import LoadedModel

__all__ = ["return_free_memory", "tokens_that_fit"]


def tokens_that_fit(loaded: LoadedModel, share: float, reserved: int) -> int:
    """Tokens whose keys and values take this share of what is free on the model's GPU, less `reserved` bytes."""
    config = loaded.model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_token = 2 * config.num_hidden_layers * heads * dim * loaded.dtype.itemsize
    free, _ = torch.cuda.mem_get_info(loaded.device)
    # What PyTorch holds and does not use is free for it as well.
    spare = torch.cuda.memory_reserved(loaded.device) - torch.cuda.memory_allocated(loaded.device)
    return max(0, int((share * (free + spare) - reserved) / per_token))


def return_free_memory() -> None:
    """Return what is free inside the allocator's heaps; on Linux with glibc, elsewhere nothing happens.

    Prefixes that stay lie between keys and values that were freed, so the heaps cannot shrink by themselves: after a
    batch of long answers they would go on to hold several times what is in use.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
