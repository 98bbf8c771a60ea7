"""What PyTorch's compiler makes of the sampler's kernels chooses as they do; `test_cuda` holds it for a GPU's code."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
import torch

from la_agents.engine.sampler import Sampler
from la_agents.engine.sequence import Sequence
from la_agents.requests import Alignment, Request, Sampling, TokenRecord

VOCAB = 8192  # the least for which kernels are compiled
SETTINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"max_divergence": 0.3}, {}),
    ({"method": "linear", "fluency": 0.4}, {}),
    ({"push": "adaptive", "max_divergence": 0.5}, {"temperature": 0.7, "top_p": 0.9, "seed": 3}),
]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("line", "support", "choice", "budget", "step"):
        monkeypatch.setattr(importlib.import_module(f"la_agents.alignment.{module}"), "may_look", lambda _: False)
    # The compiler's front half: whether it can follow each kernel, and for how many kinds of shapes it must.
    monkeypatch.setitem(sys.modules["la_agents.alignment.kernel"]._backends, "cpu", "eager")


def choose(number: int, branches: int, how: dict[str, Any], sampling: dict[str, Any]) -> list[TokenRecord]:
    request = Request(
        reference=(1,),
        branches=((2,),) * branches,
        weights=(1.0,) * branches,
        sampling=Sampling(**sampling),
        alignment=Alignment(**how),
    )
    width = 1 + branches
    rows = [(Sequence(request), range(i * width, (i + 1) * width)) for i in range(number)]
    generator = torch.Generator().manual_seed(number)
    base = 2 * torch.randn(number, 1, VOCAB, generator=generator)
    logits = base + 0.7 * torch.randn(number, width, VOCAB, generator=generator)
    return Sampler().sample(logits.flatten(0, 1), rows)


@pytest.mark.parametrize(("how", "sampling"), SETTINGS)
def test_compiled_kernels_choose_as_plain_ones(
    how: dict[str, Any], sampling: dict[str, Any], request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    shapes = [(3, 1), (1, 1), (4, 2), (1, 3)]
    expected = [choose(number, branches, how, sampling) for number, branches in shapes]
    request.getfixturevalue("compiled")
    for (number, branches), plain in zip(shapes, expected, strict=True):
        for a, b in zip(plain, choose(number, branches, how, sampling), strict=True):
            assert (a.token_id, a.reference_id) == (b.token_id, b.reference_id)
            assert b.divergence == pytest.approx(a.divergence, rel=1e-3, abs=1e-4)
            assert b.scale == pytest.approx(a.scale, rel=1e-3, abs=1e-3)
            assert b.contributions == pytest.approx(a.contributions, rel=1e-3, abs=1e-3)
    assert not [record for record in caplog.records if "compiler failed" in record.getMessage()]


def test_other_numbers_of_rows_and_other_settings_compile_nothing_again(compiled: None) -> None:
    from torch._dynamo.utils import counters

    for number in (3, 1):
        for branches in (1, 2):
            choose(number, branches, {}, {})
    before = counters["stats"]["unique_graphs"]
    for number, branches, strength in ((5, 1, 0.7), (7, 1, 2.0), (1, 1, 3.0), (9, 2, 1.5), (4, 3, 0.3)):
        choose(number, branches, {"strength": strength}, {})
    assert counters["stats"]["unique_graphs"] == before
