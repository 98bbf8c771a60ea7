"""What a client may send, and what is refused by name; random numbers by seed and place alone."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from la_agents_vllm.arguments import MAX_BRANCHES, ROW, Arguments, Row, check_parameters
from la_agents_vllm.draws import key_of, uniforms

ALIGNED: dict[str, Any] = {"la_branches": [5, 6, 7, 8, 9], "la_lengths": [2, 3], "la_scale": 1.5}


def test_branches_come_flat_with_their_lengths() -> None:
    given = Arguments.of({**ALIGNED, "of_another_plugin": 1})
    assert given is not None
    assert given.branches == ((5, 6), (7, 8, 9))
    assert given.weights == (1.0, 1.0)


@pytest.mark.parametrize("extra", [None, {}, {"of_another_plugin": 1}, {ROW: ["x"]}])
def test_a_request_of_somebody_else_is_none_of_ours(extra: dict[str, Any] | None) -> None:
    assert Arguments.of(extra) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"la_strength": 1},
        {"la_lengths": [2, 2]},
        {"la_lengths": [1, 4]},
        {"la_lengths": "2"},
        {"la_branches": [5, 6, 7, 8, -9]},
        {"la_branches": [5, 6, 7, 8, 9.5]},
        {"la_branches": [5, 6, 7, 8, True]},
        {"la_branches": "56789"},
        {"la_weights": [1.0]},
        {"la_weights": [1.0, float("nan")]},
        {"la_weights": [1.0, "2"]},
        {"la_scale": float("nan")},
        {"la_scale": float("inf")},
        {"la_scale": "1.5"},
        {"la_scale": True},
        {"la_scale": -1},
        {"la_scale": None},
        {"la_support_p": 0},
        {"la_support_p": 1.1},
        {"la_mask_temperature": 0},
        {"la_plausibility": 2},
        {"la_fluency": -0.1},
        {"la_max_divergence": -1},
        {"la_max_divergence": float("nan")},
        {"la_max_divergence": 10**400},
        {"la_weights": [1.0, 10**400]},
        {"la_scale": 10**400},
        {"la_trigger": 3},
        {"la_trigger": ""},
        {"la_record": 3},
    ],
)
def test_what_is_not_understood_is_refused_without_repeating_prompts(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^Expected .*la_") as refused:
        Arguments.of({**ALIGNED, **changes})
    assert "5, 6, 7" not in str(refused.value)


def test_a_scale_has_to_be_given_and_branches_are_bounded() -> None:
    with pytest.raises(ValueError, match="la_scale"):
        Arguments.of({"la_branches": [1, 2], "la_lengths": [2]})
    many = MAX_BRANCHES + 1
    with pytest.raises(ValueError, match="branches"):
        Arguments.of({"la_branches": [1, 2] * many, "la_lengths": [2] * many, "la_scale": 1})


def test_a_row_survives_the_wire() -> None:
    given = Arguments.of({**ALIGNED, "la_max_divergence": 0.5, "la_record": 1})
    assert given is not None
    row = Row.first("name", given, 7, 1e-7, 0.9)
    assert row.temperature == 0
    assert row.mask_temperature == 0.5
    assert Row.of({ROW: json.loads(json.dumps(row.wire))}) == row
    assert Row.first("name", given, 7, 0.8, 0.9).mask_temperature == 0.8


PLAIN: dict[str, Any] = {
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "logit_bias": None,
    "prompt_logprobs": None,
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("presence_penalty", 0.5),
        ("frequency_penalty", -0.5),
        ("repetition_penalty", 1.1),
        ("top_k", 5),
        ("min_p", 0.1),
        ("logit_bias", {3: 1.0}),
        ("prompt_logprobs", 0),
        ("thinking_token_budget", 10),
        ("watermarking", True),
    ],
)
def test_what_an_aligned_request_cannot_have_is_refused_by_name(name: str, value: Any) -> None:
    given = Arguments.of(ALIGNED)
    assert given is not None
    check_parameters(SimpleNamespace(**PLAIN), given)
    with pytest.raises(ValueError, match=name):
        check_parameters(SimpleNamespace(**{**PLAIN, name: value}), given)


def test_a_trigger_is_refused_where_no_grammar_looks_for_it() -> None:
    given = Arguments.of({**ALIGNED, "la_trigger": "<call>"})
    assert given is not None
    check_parameters(SimpleNamespace(**PLAIN, structured_outputs=object()), given)
    with pytest.raises(ValueError, match="la_trigger beside structured_outputs"):
        check_parameters(SimpleNamespace(**PLAIN, structured_outputs=None), given)


def test_random_numbers_depend_on_seed_and_place_alone() -> None:
    keys = np.array([key_of(seed) for seed in range(200)], dtype=np.uint64)
    drawn = np.stack([uniforms(keys, np.full(200, place)) for place in range(50)])  # [50, 2, 200]
    again = uniforms(keys[[7, 3]], np.array([20, 4]))
    assert again.T.tolist() == [drawn[20, :, 7].tolist(), drawn[4, :, 3].tolist()]
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert len(np.unique(drawn)) == drawn.size
    counts, _ = np.histogram(drawn, bins=10, range=(0, 1))
    assert abs(counts / drawn.size - 0.1).max() < 0.01
    flat = drawn.reshape(-1, 200)
    assert abs(np.corrcoef(flat.T)[np.triu_indices(200, 1)]).mean() < 0.12
    assert key_of(-1) != key_of(1)
    assert key_of(2**63 - 1) != key_of(0)
