"""Gang scheduling, against a worker whose cache holds hashes: no answer is wrong, and nothing is left behind."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

from simulation import simulate
from vllm import SamplingParams
from vllm.v1.request import Request

from la_agents_vllm.arguments import ROW, Arguments
from la_agents_vllm.gangs import rows_of

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


def test_rows_carry_no_other_prompts_and_what_the_client_sent_stays_as_it_was() -> None:
    extra = {"la_branches": [5, 6, 7, 8], "la_lengths": [2, 2], "la_scale": 2.0, "of_another": 1}
    params, given = SamplingParams(extra_args=dict(extra)), Arguments.of(extra)
    assert given is not None
    for name in ("a", "b"):  # children of one request share what they ask for
        rows = rows_of(Request(name, [1, 2, 3], params, None), given, 5, "la-")
        assert [row.prompt_token_ids for row in rows] == [[1, 2, 3], [5, 6], [7, 8]]
        assert [set(row.sampling_params.extra_args) for row in rows] == [{ROW, "of_another"}] * 3
    assert params.extra_args == extra
