"""The summary of the results page: nothing is in it that the page does not say, and the README has it."""

from __future__ import annotations

import re

import pytest

from benchmarks.summary import README, RESULTS, summary, with_summary

MODEL = """## one-model

| setting | adherence | gain |
| --- | --- | --- |
| base | 0.11 [0.10, 0.12] | - |
| prompt-user | 0.45 [0.40, 0.50] | +0.00 |
| calibrated | 0.55 [0.50, 0.60] | +0.10 |

Best way of prompting: `prompt-user`, adherence 0.45 [0.40, 0.50].

The default (`calibrated`) helps with: pirate +0.62, formal +0.36.

More than 0.05 below the best prompting: dogs -0.10.

From the best prompting to the default: repetition 0.16 to 0.18.
"""


def test_each_model_has_a_row_and_its_verdicts() -> None:
    other = MODEL.replace("one-model", "another").replace("helps with", "hurts with")
    text = summary(f"# Results\n\n{MODEL}\n{other}")
    assert "| one-model | 0.11 [0.10, 0.12] | 0.45 [0.40, 0.50] | **0.55 [0.50, 0.60]** |" in text
    one, another = text.split("**one-model**")[1].split("**another**")
    assert "Clearly better: pirate +0.62, formal +0.36." in one
    assert "Worse by more than 0.05: dogs -0.10." in one
    assert "repetition 0.16 to 0.18" in one
    assert "Clearly better: none." in another


def test_a_page_that_does_not_say_it_is_refused() -> None:
    with pytest.raises(ValueError, match="calibrated"):
        summary(MODEL.replace("| calibrated |", "| other |"))


def test_the_readme_has_the_summary_of_the_results_page() -> None:
    readme = README.read_text(encoding="utf-8")
    assert readme == with_summary(readme), "Run `python -m benchmarks.summary`."
    results = RESULTS.read_text(encoding="utf-8")
    figures = r"[+-]?\d\.\d\d"
    assert {*re.findall(figures, summary(results))} <= {*re.findall(figures, results), "0.05"}
