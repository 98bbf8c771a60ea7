"""Gang scheduling, against a worker whose cache holds hashes: no answer is wrong, and nothing is left behind."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

from simulation import simulate

SEEDS = range(int(os.environ.get("LA_SEEDS", "6")))


@pytest.mark.parametrize("fault", [0.0, 0.1])
@pytest.mark.parametrize("is_second", [False, True], ids=["first runner", "second runner"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_answer_is_its_prompts_own(tiny_folder: str, seed: int, is_second: bool, fault: float) -> None:
    outcome = simulate(tiny_folder, seed, is_second=is_second, fault=fault)
    assert outcome.problems == []
    assert outcome.num_tokens > 0
    assert bool(outcome.num_splits) == (fault > 0)


@pytest.mark.parametrize("is_second", [False, True], ids=["first runner", "second runner"])
@pytest.mark.parametrize("seed", [10, 11])  # they end at the context's end, steps ahead
def test_where_there_is_room_for_all_no_step_is_for_nothing(tiny_folder: str, seed: int, is_second: bool) -> None:
    assert simulate(tiny_folder, seed, is_second=is_second, is_alone=True).problems == []
