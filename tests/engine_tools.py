"""What tests of the engine share: random requests, and ways to make one of them go wrong from outside."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from la_agents.engine.engine import Engine
from la_agents.models import LoadedModel
from la_agents.requests import Alignment, Completion, Request, Sampling
from tests.tiny import tiny_model

__all__ = [
    "POISON",
    "FailingTokenizer",
    "answer",
    "failing_on",
    "fresh_model",
    "looping_model",
    "random_request",
    "text_of",
    "tokens_of",
]

POISON = 9
"""A token that no random request holds."""


def fresh_model(family: str = "llama", *, endless: bool = True) -> LoadedModel:
    """A tiny model of the test's own, to be hooked into; endless: nothing ends an answer but its length."""
    loaded = tiny_model.__wrapped__(family)
    return dataclasses.replace(loaded, eos_token_ids=frozenset()) if endless else loaded


def looping_model() -> LoadedModel:
    """A model whose next token depends on the last one alone: under greedy decoding it comes back to where it was."""
    loaded = fresh_model()
    with torch.no_grad():
        for layer in loaded.model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    return loaded


def random_request(
    number: int,
    *,
    num_branches: int = 0,
    shared: int = 0,
    length: int | None = None,
    poisoned: bool = False,
    vocab: int = 300,
    timeout: float | None = None,
    salt: str = "",
    alignment: dict[str, Any] | None = None,
    **sampling: Any,
) -> Request:
    """Prompts of random tokens: the branches begin with `shared` tokens of the reference, and differ after."""
    rng = random.Random(number)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(10, vocab) for _ in range(count))

    start = tokens(shared)
    prompts = [start + tokens(length or rng.randrange(3, 30)) for _ in range(1 + num_branches)]
    if poisoned:
        prompts[-1] = (*prompts[-1][:-1], POISON)
    return Request(
        reference=prompts[0],
        branches=tuple(prompts[1:]),
        weights=tuple(rng.choice([0.5, 1.0, 1.5]) for _ in range(num_branches)),
        sampling=Sampling(**{"max_tokens": 8, **sampling}),
        alignment=Alignment(**{"method": "linear", "strength": 1.0, **(alignment or {})}),
        timeout=timeout,
        salt=salt,
    )


def answer(loaded: LoadedModel, request: Request, **engine: Any) -> Completion:
    """The request alone in an engine of its own."""
    with Engine(loaded, **engine) as alone:
        return alone.complete(request)


def tokens_of(completion: Completion) -> list[int]:
    return [record.token_id for record in completion.records]


def text_of(loaded: LoadedModel, completion: Completion) -> str:
    return loaded.tokenizer.decode(tokens_of(completion), skip_special_tokens=True).rstrip("\N{REPLACEMENT CHARACTER}")


@contextmanager
def failing_on(loaded: LoadedModel, token: int, error: BaseException | None = None) -> Iterator[None]:
    """While inside, a forward whose input holds `token` raises `error`; without one, that row's hidden state is nan."""

    def hook(_: torch.nn.Module, args: tuple[torch.Tensor], hidden: torch.Tensor) -> torch.Tensor | None:
        hit = args[0] == token
        if error is not None and bool(hit.any()):
            raise type(error)(*error.args)
        return hidden.masked_fill(hit.any(dim=1)[:, None, None], float("nan")) if error is None else None

    handle = loaded.model.get_input_embeddings().register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


class FailingTokenizer:
    """A tokenizer that cannot decode one token."""

    def __init__(self, tokenizer: Any, token: int) -> None:
        self._tokenizer = tokenizer
        self._token = token

    def decode(self, token_ids: list[int], **options: Any) -> str:
        if self._token in token_ids:
            msg = f"no such token: {self._token}"
            raise KeyError(msg)
        return self._tokenizer.decode(token_ids, **options)
