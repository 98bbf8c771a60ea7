"""Fingerprint: which model this is, by what it holds rather than by its name, for the keys of caches.

Two folders may have one name, and a folder's content may change; what decides an answer is the weights, their
configuration and the tokenizer with its template, wherever they were read from.
"""

from __future__ import annotations

import hashlib
import json
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from la_agents.models.loading import LoadedModel

__all__ = ["fingerprint"]

_SAMPLES = 256  # a tensor, evenly spread

_known: weakref.WeakKeyDictionary[LoadedModel, str] = weakref.WeakKeyDictionary()


def fingerprint(loaded: LoadedModel) -> str:
    """SHA-256 over a loaded model; equal in every process that loads the same files in the same way.

    The first call reads all weights once. Of each tensor the sum of its bits and a spread of its elements count: the
    sum is one of integers, so that neither threads nor device round it, and sees a change of any one element.
    """
    found = _known.get(loaded)
    if found is None:
        found = _known[loaded] = _compute(loaded)
    return found


def _compute(loaded: LoadedModel) -> str:
    digest = hashlib.sha256()
    config = loaded.model.config.to_dict()
    config = {name: config[name] for name in config if not name.startswith("_") and name != "transformers_version"}
    facts = [config, sorted(loaded.eos_token_ids), loaded.max_positions, str(loaded.dtype), loaded.device.type]
    digest.update(json.dumps([*facts, loaded.quantization], sort_keys=True, default=str).encode())
    digest.update(_tokenizer_text(loaded.tokenizer).encode("utf-8", "surrogatepass"))
    for name, tensor in sorted(loaded.model.state_dict().items()):
        digest.update(f"\0{name} {tuple(tensor.shape)} {tensor.dtype} {_bits(tensor)}".encode())
    return digest.hexdigest()


def _tokenizer_text(tokenizer: PreTrainedTokenizerBase) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = sorted(tokenizer.get_vocab().items()) if backend is None else backend.to_str()
    return repr((type(tokenizer).__name__, tokenizer.chat_template, tokenizer.special_tokens_map, vocabulary))


def _bits(tensor: Tensor) -> str:
    import torch

    flat = tensor.detach().reshape(-1)
    width = flat.element_size()
    kind = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}.get(width)
    if kind is None or not flat.numel():
        return ""
    whole = (torch.view_as_real(flat).reshape(-1) if flat.is_complex() else flat).contiguous().view(kind)
    step = max(1, len(whole) // _SAMPLES)
    sampled = whole[::step].cpu().numpy().tobytes()
    return f"{int(whole.sum(dtype=torch.int64))} {hashlib.sha256(sampled).hexdigest()}"
