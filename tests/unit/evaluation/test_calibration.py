"""Summaries and calibrations, of rows written by hand: every figure can be checked with a pencil."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from la_agents.calibration import Guidance
from la_agents.errors import ConfigurationError
from la_agents.evaluation.adherence import MEASURED
from la_agents.evaluation.calibration import calibrate, candidates, worth
from la_agents.evaluation.summary import gain, summarise
from la_agents.prompts.builder import Placing


def row(setting: str, adherence: float, **values: Any) -> dict[str, Any]:
    method, _, rest = setting.partition(" ")
    given = dict(part.split("=") for part in rest.split())
    return {
        "setting": setting,
        "method": method,
        "strength": float(given["strength"]) if "strength" in given else None,
        "max_divergence": float(given["budget"]) if "budget" in given else None,
        "principle": "dogs",
        "question": 0,
        "adherence": adherence,
        "nll": 1.0,
        "divergence": 0.5,
        "distinct_2": 1.0,
        "repetition": None,
        "relevance": 0.5,
        **values,
    }


def test_a_summary_is_of_its_rows() -> None:
    rows = [
        row("prompt", 0.2, question=0, nll=math.log(2.0)),
        row("prompt", 0.6, question=1, nll=math.log(8.0), relevance=0.1),
        row("linear strength=1", 0.5, question=0),
        row("linear strength=1", 0.7, question=1, nll=None, repetition=0.25),
    ]
    prompt, linear = summarise(rows)
    assert (prompt.setting, prompt.num_answers, prompt.adherence.mean) == ("prompt", 2, pytest.approx(0.4))
    assert prompt.costs["ppl_0"] == pytest.approx(4.0)  # the geometric mean
    assert prompt.costs["relevance"] == pytest.approx(0.3)
    assert prompt.gain is not None
    assert (prompt.gain.mean, prompt.gain.low, prompt.gain.high) == (0.0, 0.0, 0.0)
    assert (linear.varied, linear.costs["ppl_0"], linear.costs["repetition"]) == (1.0, pytest.approx(math.e), 0.25)
    assert linear.gain is not None
    assert linear.gain.mean == pytest.approx(0.2)
    assert linear.gain.low >= 0.1 - 1e-9


def test_a_gain_is_paired_so_that_hard_questions_do_not_blur_it() -> None:
    difficulty = [n / 40 for n in range(40)]
    before = [row("prompt", 0.9 * easy, question=n) for n, easy in enumerate(difficulty)]
    after = [row("linear strength=1", 0.9 * easy + 0.05, question=n) for n, easy in enumerate(difficulty)]
    found = gain(after, before)
    assert found.low == pytest.approx(found.high) == pytest.approx(0.05)
    (summary,) = summarise(after)
    assert summary.adherence.high - summary.adherence.low > 0.1
    assert summary.gain is None  # nothing to compare with


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    draw, covered = random.Random(0), 0
    for trial in range(200):
        rows = [
            row("prompt", float(draw.random() < 0.5), question=question, principle=principle)
            for question in range(24)
            for principle in ("dogs", "space")
        ]
        (summary,) = summarise(rows, seed=trial)
        covered += summary.adherence.low <= 0.5 <= summary.adherence.high
    assert 0.88 * 200 <= covered <= 0.99 * 200


def test_answers_to_one_question_count_once_in_the_interval() -> None:
    rows = [
        row("prompt", float(question), question=question, principle=str(n)) for question in (0, 1) for n in range(50)
    ]
    (summary,) = summarise(rows)
    assert (summary.adherence.low, summary.adherence.high) == (0.0, 1.0)  # two questions tell next to nothing


def answers(
    principle: str, setting: str, adherence: float, perplexity: float = 2.0, **values: Any
) -> list[dict[str, Any]]:
    """Rows of one candidate on four questions."""
    return [
        row(setting, adherence, principle=principle, question=n, nll=math.log(perplexity), **values) for n in range(4)
    ]


def test_worth_weighs_following_against_fluency_and_relevance() -> None:
    rows = answers("dogs", "prompt", 0.5, 8.0, relevance=0.5)
    assert worth(rows, 0.1) == pytest.approx(0.5 - 0.3 + 0.4)
    assert worth(answers("dogs", "prompt", 0.0, relevance=None), 0.1) == pytest.approx(-0.1)
    assert worth(answers("dogs", "prompt", 0.5, 8.0, relevance=0.5, repetition=0.5), 0.1) == pytest.approx(0.2)
    silent = [{**one, "nll": None, "relevance": None} for one in rows]
    assert worth(silent, 0.1) == 0.5


def test_each_principle_gets_what_it_is_followed_best_with() -> None:
    rows = [
        *answers("dogs", "prompt", 0.1),
        *answers("dogs", "prompt-system", 0.2),
        *answers("dogs", "tapered strength=2", 0.9, 3.0),
        *answers("space", "prompt", 0.1),
        *answers("space", "prompt-system", 0.1),
        *answers("space", "tapered strength=2", 0.8, 3.0),
        *answers("lower-case", "prompt", 0.3),
        *answers("lower-case", "prompt-system", 0.7),
        *answers("lower-case", "tapered strength=2", 0.2, 3.0),
        *answers("lower-case", "linear strength=2", 1.0),  # no candidate: not looked at
    ]
    found = calibrate(rows, "some-model")
    assert (found.default, found.num_questions) == ("tapered strength=2", 4)
    assert {one.principle: one.setting for one in found.principles} == {
        "dogs": "tapered strength=2",
        "space": "tapered strength=2",
        "lower-case": "prompt-system",
    }
    lower = found.principles[-1]
    assert (lower.adherence, lower.default, lower.prompted) == (0.7, 0.2, 0.7)
    calibration = found.calibration
    assert (calibration.model, calibration.default) == ("some-model", Guidance(2.0, Placing()))
    assert calibration.guidance(MEASURED["lower-case"].text) == Guidance(0.0, Placing("system"))
    assert calibration.guidance(MEASURED["dogs"].text) == calibration.default


def test_a_difference_that_chance_makes_changes_nothing() -> None:
    rows = [
        *answers("dogs", "prompt", 0.5),
        *answers("dogs", "tapered strength=2", 0.9),
        *answers("formal", "prompt", 0.54),
        *answers("formal", "tapered strength=2", 0.5),
    ]
    found = calibrate(rows, "some-model")
    assert {one.setting for one in found.principles} == {"tapered strength=2"}


def test_no_principle_is_followed_less_than_by_the_best_way_of_prompting() -> None:
    rows = [
        *answers("dogs", "prompt", 0.2),
        *answers("dogs", "prompt-user", 0.3),
        *answers("dogs", "tapered strength=2", 0.9),
        *answers("space", "prompt", 0.4, 2.0),
        *answers("space", "prompt-user", 0.6, 12.0),  # dear, and still what the others are held against
        *answers("space", "tapered strength=2", 0.5, 2.0),
        *answers("space", "tapered-first strength=2", 0.56, 4.0),
    ]
    found = calibrate(rows, "some-model")
    assert found.default == "tapered strength=2"
    assert {one.principle: one.setting for one in found.principles} == {
        "dogs": "tapered strength=2",
        "space": "tapered-first strength=2",
    }


def test_of_defaults_that_are_worth_the_same_the_most_followed_one_is_taken() -> None:
    rows = [
        *answers("dogs", "prompt-system", 0.2, 2.0),
        *answers("dogs", "tapered strength=2", 0.2, 8.0),  # the usual one: worth too little
        *answers("dogs", "tapered-first strength=2", 0.36, 8.0),
    ]
    assert calibrate(rows, "some-model").default == "tapered-first strength=2"
    without = [row for row in rows if row["method"] != "tapered-first"]
    assert calibrate(without, "some-model").default == "prompt-system"


def test_a_model_that_alignment_does_not_help_is_prompted() -> None:
    rows = [*answers("dogs", "prompt", 0.5), *answers("dogs", "tapered strength=2", 0.5, 4.0)]
    assert calibrate(rows, "some-model").calibration.default == Guidance(0.0, Placing())


def test_what_is_said_about_unseen_questions_was_not_chosen_on_them() -> None:
    half = {0: 1.0, 1: 0.0, 2: 1.0, 3: 0.0}  # what is best on the even questions is nothing on the odd ones
    rows = [
        {**one, "adherence": half[one["question"]] if one["method"] == "tapered" else 1 - half[one["question"]]}
        for setting in ("tapered strength=2", "prompt")
        for one in answers("dogs", setting, 0.0)
    ]
    found = calibrate(rows, "some-model")
    assert (found.unseen, found.unseen_prompted) == (0.0, 0.5)
    (single,) = {one["question"]: one for one in rows[:1]}.values()
    assert calibrate([single], "some-model").unseen is None


def test_bad_requests_are_refused_before_any_work() -> None:
    with pytest.raises(ConfigurationError, match="strengths above 0"):
        candidates((0.0, 1.0))
    with pytest.raises(ConfigurationError, match="rate above 0"):
        calibrate(answers("dogs", "prompt", 0.5), "some-model", rate=0.0)
    with pytest.raises(ConfigurationError, match="rows of the candidates"):
        calibrate(answers("dogs", "linear strength=1", 0.5), "some-model")


def test_every_candidate_is_tried_at_every_strength() -> None:
    keys = [setting.key for setting in candidates((1.0, 3.0))]
    assert keys[:3] == ["prompt", "prompt-system", "prompt-user"]
    assert {"tapered strength=1", "tapered strength=3", "tapered-first strength=1"} <= set(keys)
    assert len(candidates()) < len(keys)
