"""Where two principles at odds end up, on rows written by hand."""

from __future__ import annotations

import pytest

from benchmarks.research.conflict import balances


def test_leaning_follows_the_weights_or_does_not() -> None:
    rows = []
    for question in range(4):
        for weights, first, second in (("3:1", 0.9, 0.1), ("1:1", 0.6, 0.5), ("1:3", 0.2, 0.8)):
            fields = {"pair": "french+german", "weights": weights, "question": question}
            rows.append({"setting": "linear-sum strength=1", "adherence": first, "opposite": second, **fields})
            rows.append({"setting": "linear strength=1", "adherence": 0.5, "opposite": 0.4, **fields})
    by_setting = {balance.setting: balance for balance in balances(rows)}
    follows, joint = by_setting["linear-sum strength=1"], by_setting["linear strength=1"]
    assert follows.by_weights == pytest.approx({"3:1": 0.8, "1:1": 0.1, "1:3": -0.6})
    assert follows.shift.low == pytest.approx(1.4)
    assert (joint.shift.low, joint.shift.high) == (0.0, 0.0)
    assert joint.num_questions == 4
