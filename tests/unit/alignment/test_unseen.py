"""On a GPU nobody looks at numbers on the way: the ways without looking give what the others give."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from la_agents import alignment

VOCAB = 512
NEG_INF = float("-inf")


@contextmanager
def unseen() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in ("line", "support", "choice", "budget"):
            patch.setattr(importlib.import_module(f"la_agents.alignment.{module}"), "may_look", lambda _: False)
        yield


def both(function: Callable[[], object]) -> tuple[list[Tensor], list[Tensor]]:
    seen = function()
    with unseen():
        blind = function()
    return tuple(list(x) if isinstance(x, tuple) else [x] for x in (seen, blind))  # type: ignore[return-value]


def cases() -> Iterator[tuple[str, Tensor, Tensor]]:
    """Logits of the reference [4, vocab] and of two branches [4, 2, vocab]."""
    generator = torch.Generator().manual_seed(7)
    for name, spread in (("flat", 0.1), ("usual", 3.0), ("peaked", 30.0)):
        f_0 = spread * torch.randn(4, VOCAB, generator=generator)
        f = f_0.unsqueeze(1) + 0.5 * spread * torch.randn(4, 2, VOCAB, generator=generator)
        yield name, f_0, f
        impossible = torch.rand(4, VOCAB, generator=generator) < 0.3
        impossible[:, 0] = False
        yield (
            f"{name}, some impossible",
            f_0.masked_fill(impossible, NEG_INF),
            f.masked_fill(impossible.roll(3, dims=-1).unsqueeze(1), NEG_INF),
        )
        yield f"{name}, ties", f_0.round(), f.round()


CASES = list(cases())
ids = [name for name, *_ in CASES]
WEIGHTS = torch.tensor([[1.0, 0.0], [0.5, 1.5], [0.0, 0.0], [1.0, 1.0]])


@pytest.mark.parametrize(("f_0", "f"), [case[1:] for case in CASES], ids=ids)
@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5, torch.tensor([0.5, 1.0, 3.0, 9.0])])
@pytest.mark.parametrize("taper", [0.0, 1.0, torch.tensor([0.0, 1.0, 2.0, 0.5])])
@pytest.mark.parametrize("adaptive", [False, torch.tensor([True, False, False, True])])
def test_pushes(f_0: Tensor, f: Tensor, scale: float | Tensor, taper: float | Tensor, adaptive: bool | Tensor) -> None:
    seen, blind = both(lambda: alignment.pushed(f_0, f, WEIGHTS, scale, taper, adaptive=adaptive))
    for a, b in zip(seen, blind, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("f_0", "f"), [case[1:] for case in CASES], ids=ids)
@pytest.mark.parametrize("p", [0.05, 0.8, 0.95, 1.0, torch.tensor([0.5, 1.0, 0.9, 0.001])])
@pytest.mark.parametrize("temperature", [0.5, 1.0, torch.tensor([1.0, 0.3, 2.0, 1.0])])
def test_nuclei(f_0: Tensor, f: Tensor, p: float | Tensor, temperature: float | Tensor) -> None:
    (seen,), (blind,) = both(lambda: alignment.nucleus(f_0, p, temperature))
    pi = torch.softmax(f_0 / (temperature.unsqueeze(-1) if isinstance(temperature, Tensor) else temperature), dim=-1)
    different = (pi * (seen != blind)).sum(dim=-1)
    # Sums in another order may round across p; what they then disagree on is one token at the edge.
    assert ((seen != blind).sum(dim=-1) <= 1).all()
    assert (different <= pi.amax(dim=-1)).all()
    (seen,), (blind,) = both(lambda: alignment.sampled_from(f_0, p, temperature))
    torch.testing.assert_close(seen, blind, rtol=0.0, atol=float(different.max()) + 1e-5)


def test_a_nucleus_cuts_ties_by_token() -> None:
    logits = torch.tensor([[0.0, 1.0, 1.0, 1.0, 1.0, 0.0], [2.0, 2.0, 2.0, 2.0, 2.0, 2.0]])
    (seen,), (blind,) = both(lambda: alignment.nucleus(logits, 0.4))
    assert torch.equal(seen, blind)
    assert blind.tolist() == [[False, True, True, False, False, False], [True, True, True, False, False, False]]


@pytest.mark.parametrize(("f_0", "f"), [case[1:] for case in CASES], ids=ids)
@pytest.mark.parametrize("delta", [0.0, 0.01, 0.5, 5.0, math.inf, torch.tensor([0.0, 0.1, math.inf, 1.0])])
@pytest.mark.parametrize("temperature", [1.0, 0.7, torch.tensor([1.0, 0.5, 2.0, 1.0])])
def test_budgets(f_0: Tensor, f: Tensor, delta: float | Tensor, temperature: float | Tensor) -> None:
    pushed, _ = alignment.pushed(f_0, f, WEIGHTS, 3.0, 1.0)
    allowed = alignment.plausible(pushed, -3.0)
    seen, blind = both(lambda: alignment.within_budget(f_0, pushed, allowed, delta, temperature))
    torch.testing.assert_close(seen[0], blind[0], rtol=2e-3, atol=2e-3)
    spent = alignment.divergence(blind[1], f_0, temperature)
    limit = delta if isinstance(delta, Tensor) else torch.full((4,), delta)
    assert (spent <= limit + 1e-4).all()
