"""Summaries and the knee, on rows written by hand: every figure can be checked with a pencil."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from la_agents.errors import ConfigurationError
from la_agents.evaluation.calibration import knee, recommend, sweep, worth
from la_agents.evaluation.summary import gain, summarise


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


def swept(*points: tuple[str, float, float]) -> list[dict[str, Any]]:
    """Rows of a sweep: setting, adherence, perplexity."""
    return [row(setting, adherence, nll=math.log(perplexity)) for setting, adherence, perplexity in points]


def test_a_summary_is_of_its_rows() -> None:
    rows = [
        row("prompt", 0.2, question=0, nll=math.log(2.0)),
        row("prompt", 0.6, question=1, nll=math.log(8.0), relevance=0.1),
        row("linear strength=1", 0.5, question=0),
        row("linear strength=1", 0.7, question=1, nll=None, repetition=0.25),
    ]
    prompt, linear = summarise(rows)
    assert (prompt.setting, prompt.num_answers, prompt.adherence.mean) == ("prompt", 2, pytest.approx(0.4))
    assert prompt.perplexity == pytest.approx(4.0)  # the geometric mean
    assert prompt.relevance == pytest.approx(0.3)
    assert prompt.gain is not None
    assert (prompt.gain.mean, prompt.gain.low, prompt.gain.high) == (0.0, 0.0, 0.0)
    assert (linear.strength, linear.perplexity, linear.repetition) == (1.0, pytest.approx(math.e), 0.25)
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


def test_the_knee_is_the_last_step_that_pays() -> None:
    points = summarise(
        swept(
            ("prompt", 0.20, 2.0),
            ("tapered strength=1", 0.50, 4.0),  # a doubling for 0.30
            ("tapered strength=2", 0.65, 8.0),  # a doubling for 0.15
            ("tapered strength=3", 0.70, 16.0),  # a doubling for 0.05
        )
    )
    assert knee(points, rate=0.1).strength == 2.0
    assert knee(points, rate=0.2).strength == 1.0
    assert knee(points, rate=0.4).setting == "prompt"
    assert knee(points, rate=0.01).strength == 3.0
    assert [round(worth(point, 0.1), 6) for point in points] == [0.1, 0.3, 0.35, 0.3]


def test_a_sweep_that_gains_nothing_recommends_prompting() -> None:
    rows = swept(("prompt", 0.5, 2.0), ("tapered strength=1", 0.5, 2.0), ("tapered strength=2", 0.5, 2.0))
    found = recommend(rows)
    assert (found.strength, found.max_divergence, found.best.setting) == (0.0, None, "prompt")


def test_a_free_gain_is_always_taken() -> None:
    points = summarise(swept(("prompt", 0.5, 4.0), ("tapered strength=1", 0.5, 3.0)))
    assert knee(points).strength == 1.0


def test_a_budget_is_recommended_with_the_cap_it_was_tried_with() -> None:
    rows = swept(
        ("prompt", 0.2, 2.0),
        ("tapered strength=3", 0.8, 64.0),
        ("tapered+budget strength=3 budget=0.5", 0.6, 4.0),
        ("tapered+budget strength=3 budget=1", 0.65, 16.0),
    )
    found = recommend(rows)
    assert (found.strength, found.max_divergence, found.cap) == (3.0, 0.5, 3.0)
    assert found.best.setting == "tapered+budget strength=3 budget=0.5"


def test_a_sweep_starts_at_prompting_and_is_refused_if_it_goes_nowhere() -> None:
    keys = [setting.key for setting in sweep((2.0, 1.0), (0.5,))]
    assert keys[:2] == ["prompt", "tapered strength=1"]
    assert keys[-1] == "tapered+budget strength=2 budget=0.5"
    with pytest.raises(ConfigurationError, match="at least one strength above 0"):
        sweep((0.0,), ())
    with pytest.raises(ConfigurationError, match="rate above 0"):
        knee(summarise(swept(("prompt", 0.5, 2.0))), rate=0.0)
    with pytest.raises(ConfigurationError, match="one or more points"):
        knee([])
