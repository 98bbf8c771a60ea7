"""Bootstrap intervals: they hold the mean, narrow with the data, and cover the truth about as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from la_agents.errors import ConfigurationError
from la_agents.evaluation.intervals import mean_interval


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    truth = 0.7
    covered = [
        interval.low <= truth <= interval.high
        for n in range(300)
        for interval in [mean_interval(random.random(60) < truth, seed=n, level=0.9, num_resamples=400)]
    ]
    assert 0.84 < np.mean(covered) < 0.95


def test_more_values_and_a_lower_level_narrow_it() -> None:
    values = np.random.default_rng(1).normal(size=400)
    few, many = mean_interval(values[:40]), mean_interval(values)
    wide = many.high - many.low
    assert wide < few.high - few.low
    half = mean_interval(values, level=0.5)
    assert 0 < half.high - half.low < wide
    assert many.mean == pytest.approx(values.mean())
    assert many.low < half.low < many.mean < half.high < many.high


def test_the_seed_is_all_its_randomness() -> None:
    values = [0.1, 1.3, 1.2, 0.7, 2.4, 3.1, 0.2]
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_resampling_in_parts_is_a_bootstrap_too() -> None:
    values = np.random.default_rng(2).normal(size=1_500_000)  # more than fit into memory 2,000 times
    interval = mean_interval(values, num_resamples=40)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 / np.sqrt(values.size), rel=0.5)


def test_a_single_value_has_no_width_and_none_has_no_interval() -> None:
    assert mean_interval([2.0]).low == mean_interval([2.0]).high == 2.0
    for bad in ([], [1.0, float("nan")]):
        with pytest.raises(ConfigurationError):
            mean_interval(bad)
