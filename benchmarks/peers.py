"""Peers, written from their published descriptions, on transformers as users run them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from benchmarks.timing import Clock
from la_agents.engine.runner import cache_argument

MASK_TEMPERATURE = 0.5
PRINCIPLE_TOP_P = 0.8


class _Ticks(BaseStreamer):
    """Notes when each new token comes; transformers hands over the prompt first."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.seen_prompt = False

    def put(self, value: Tensor) -> None:
        if self.seen_prompt:
            self.clock.tick()
        self.seen_prompt = True

    def end(self) -> None:
        pass


@torch.inference_mode()
def authors(model: PreTrainedModel, reference: Sequence[int], principle: Sequence[int], num_tokens: int) -> Clock:
    """The published algorithm: two cached forwards a token, one after the other, a full sort for the nucleus."""
    clock = Clock()
    branches = [torch.tensor([ids], device=model.device) for ids in (reference, principle)]
    caches = [{cache_argument(model): DynamicCache(config=model.config)} for _ in branches]
    for _ in range(num_tokens):
        logits = []
        for i, ids in enumerate(branches):
            out = model(input_ids=ids, **caches[i], use_cache=True, logits_to_keep=1)
            logits.append(out.logits[0, -1].float())
        f_0, f_1 = logits
        z = f_1 + (f_1 - f_0)
        p = torch.softmax(f_1 / MASK_TEMPERATURE, dim=-1)
        order = p.sort(descending=True)
        z[order.indices[(order.values.cumsum(0) - order.values) >= PRINCIPLE_TOP_P]] = float("-inf")
        token = z.argmax().view(1, 1)
        branches = [token, token]
        token.item()  # as whoever reads it does: on a GPU it would not be there yet
        clock.tick()
    return clock


def plain(model: PreTrainedModel, reference: Sequence[int], num_tokens: int) -> Clock:
    """transformers' `generate`, no alignment."""
    return _generate(model, reference, num_tokens)


def cfg(model: PreTrainedModel, reference: Sequence[int], principle: Sequence[int], num_tokens: int) -> Clock:
    """transformers' own classifier-free guidance, the reference as the negative prompt."""
    return _generate(
        model,
        principle,
        num_tokens,
        guidance_scale=2.0,
        negative_prompt_ids=torch.tensor([reference], device=model.device),
    )


def _generate(model: PreTrainedModel, prompt: Sequence[int], num_tokens: int, **arguments: Any) -> Clock:
    clock = Clock()
    ids = torch.tensor([prompt], device=model.device)
    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        min_new_tokens=num_tokens,
        max_new_tokens=num_tokens,
        streamer=_Ticks(clock),
        **arguments,
    )
    return clock


class LlamaCpp:
    """llama.cpp on the bundled GGUF, plain decoding; only where `llama-cpp-python` is installed."""

    def __init__(self, gguf: Path, num_threads: int) -> None:
        from llama_cpp import Llama

        self._llama = Llama(str(gguf), n_ctx=2048, n_threads=num_threads, verbose=False)

    @staticmethod
    def installed() -> bool:
        return find_spec("llama_cpp") is not None

    def plain(self, reference: Sequence[int], num_tokens: int) -> Clock:
        self._llama.reset()
        clock = Clock()
        for i, _ in enumerate(self._llama.generate(list(reference), temp=0.0, reset=True), start=1):
            clock.tick()
            if i == num_tokens:
                break
        return clock
