"""Choices: the harness catches a method that cheats, gives a perfect one all points and a blind one none but chance."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import Tensor

from la_agents.errors import ConfigurationError
from la_agents.evaluation.choices import Choice, letter_of, personal, prefeval, shuffled
from la_agents.evaluation.choosing import accuracy, choice_cases, choice_report, margin, mean_over_items
from la_agents.evaluation.measuring import BLOCK, complete_cases
from la_agents.evaluation.methods import BASE, METHODS, Setting
from la_agents.evaluation.provenance import provenance
from la_agents.evaluation.runs import Run
from la_agents.evaluation.subject import Subject
from la_agents.principles import Principle
from la_agents.prompts.builder import PromptBuilder
from tests.data_folder import data_folder
from tests.engine_tools import fresh_model
from tests.tiny import pristine_model

SHIPPED = Path(__file__).parents[2] / "data" / "personal_preference.jsonl"
HEADER = provenance(suite="choices", model="none", seed=0, data="00")
OPTIONS = ("kind", "brief", "vegetarian", "pirate")
LINEAR = Setting("linear", 1.5)


def choices(count: int = 12, seed: int = 0) -> list[Choice]:
    """Questions whose right answer is always "kind", wherever that stands."""
    made = []
    for number in range(count):
        order, correct = shuffled(OPTIONS, 0, str(number), seed)
        made.append(
            Choice(
                f"t/{number:03}",
                str(number),
                f"t{number % 2}",
                f"What should I cook tonight? {number}",
                "Be kind.",
                order,
                correct,
            )
        )
    return made


def rows_of(
    asked: list[Choice], settings: list[Setting], subject: Subject | None = None, there: Sequence[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Rows of a run in which some are there already."""
    subject = subject or Subject(fresh_model())
    with TemporaryDirectory() as folder, Run(Path(folder), HEADER) as run:
        for row in there:
            run.add(row["key"], row)
        return complete_cases(run, subject, choice_cases(subject, asked, settings))


# -- what is measured --------------------------------------------------------------------------------------------------


def test_rows_hold_the_likelihoods_that_full_forwards_give() -> None:
    settings = [point for method in METHODS.values() for point in method.points([1.0], [0.1])]
    asked = choices(2)
    rows = rows_of(asked, settings)
    assert [row["key"] for row in rows] == [f"{choice.key}/{setting.key}" for choice in asked for setting in settings]
    loaded = pristine_model("llama")
    prompts = PromptBuilder(loaded.tokenizer).build_text(asked[0].question, [Principle("Be kind.")])

    def log_pi(prompt: tuple[int, ...], text: list[int]) -> Tensor:
        logits = loaded.model(torch.tensor([[*prompt, *text]])).logits[0, len(prompt) - 1 : -1]
        return torch.log_softmax(logits, dim=-1)

    for place, option in enumerate(asked[0].options):
        text = loaded.tokenizer.encode(option, add_special_tokens=False)
        base, prompted = (log_pi(p.token_ids, text) for p in (prompts.reference, prompts.branches[0]))
        for name, policy in {
            "base": base,
            "prompt": prompted,
            "linear strength=1": torch.log_softmax(2 * prompted - base, dim=-1),
        }.items():
            expected = float(policy.gather(1, torch.tensor(text)[:, None]).sum())
            (row,) = [row for row in rows[: len(settings)] if row["setting"] == name]
            assert row["total"][place] == pytest.approx(expected, abs=2e-3)
            assert row["mean"][place] == pytest.approx(expected / len(text), abs=2e-3)
    best_of_n = next(row for row in rows if row["method"] == "best-of-n")
    assert best_of_n["total"] is best_of_n["mean"] is None


@pytest.mark.parametrize("family", ["qwen3", "pythia", "gemma", "mistral"])
def test_models_of_every_kind_can_be_asked(family: str) -> None:
    rows = rows_of(choices(1), [BASE, LINEAR], Subject(fresh_model(family)))
    base, linear = rows
    assert base["total"] != linear["total"]
    assert all(value < 0 for row in rows for value in row["total"])


def test_only_the_rows_asked_for_are_made_and_they_are_the_same() -> None:
    asked, settings = choices(BLOCK), [BASE, LINEAR]  # two blocks
    rows = rows_of(asked, settings)
    for missing in ([1, 4], [0, len(rows) - 1]):
        there = [row for place, row in enumerate(rows) if place not in missing]
        assert rows_of(asked, settings, there=there) == rows


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (" B", 1),
        ("C. Vegetarian food", 2),
        ("(d)", None),
        ("(D)", 3),
        ("**A**", 0),
        ("The best answer is: B.", 1),
        ("A vegetarian dish", None),
        ("A: vegetarian", 0),
        ("Brief, please", 1),
        ("Be", None),
        ("E", None),
        ("", None),
    ],
)
def test_letters_are_read_as_they_are_meant(text: str, place: int | None) -> None:
    assert letter_of(text, [option.capitalize() for option in OPTIONS]) == place


# -- perfect, blind and cheating methods -------------------------------------------------------------------------------


def scored(correct: int, *scores: float) -> dict[str, Any]:
    return {"item": "0", "correct": correct, "total": list(scores), "mean": list(scores), "letter": correct}


def test_a_perfect_method_scores_1_and_a_perverse_one_0() -> None:
    for right, expected in ((-1.0, 1.0), (-9.0, 0.0)):
        rows = [scored(0, right, -5.0, -6.0, -7.0), scored(2, -5.0, -6.0, right, -7.0)]
        assert {accuracy("mean", row) for row in rows} == {expected}
        assert all((margin(row) or 0) * (expected - 0.5) > 0 for row in rows)
    interval = mean_over_items(rows, lambda row: accuracy("letter", row))
    assert interval is not None
    assert (interval.low, interval.mean, interval.high) == (1.0, 1.0, 1.0)


def test_a_method_that_finds_all_answers_alike_gets_chance_and_no_more() -> None:
    row = scored(1, -5.0, -5.0, -5.0, -5.0)
    assert (accuracy("mean", row), margin(row)) == (0.25, 0.0)


def test_a_method_that_goes_by_position_gets_chance() -> None:
    asked = choices(2000)
    always_first = [accuracy("letter", {"letter": 0, "correct": choice.correct}) for choice in asked]
    assert sum(always_first) / len(asked) == pytest.approx(0.25, abs=0.03)
    assert set(Counter(choice.correct for choice in asked)) == {0, 1, 2, 3}


def test_the_unaligned_model_never_sees_the_principle() -> None:
    """All four askers of one question get one answer from it, and exactly one of them the right one."""
    asked = personal(SHIPPED)[:8]
    rows = rows_of(asked, [BASE, LINEAR])
    for first in range(0, len(rows), 8):
        base = [row for row in rows[first : first + 8] if row["setting"] == "base"]
        assert len({(tuple(row["total"]), row["letter"], row["text"]) for row in base}) == 1
        assert sum(accuracy("total", row) or 0 for row in base) == 1
        moved = [row for row in rows[first : first + 8] if row["setting"] != "base"]
        assert len({tuple(row["total"]) for row in moved}) == 4


# -- tables ------------------------------------------------------------------------------------------------------------


def test_tables_and_panels_show_each_setting() -> None:
    settings = [BASE, LINEAR, Setting("linear+budget", 2.0, 0.1), Setting("best-of-n", num_samples=2)]
    rows = rows_of(choices(4), settings)
    (table, legend), (by_likelihood, by_letter) = choice_report(HEADER, rows)
    for setting in settings:
        assert f"| {setting.key} |" in table
    assert "one in 4" in legend
    assert table.count("*choices · model none") == 1
    assert set(by_likelihood.curves) == {"base", "linear"}
    assert set(by_letter.curves) == {"base", "linear", "best-of-n"}
    assert by_likelihood.curves["linear"][0].x == 1.5


# -- data --------------------------------------------------------------------------------------------------------------


def test_the_order_of_options_is_the_seeds_and_the_items_own(tmp_path: Path) -> None:
    item = {"preference": "I like it.", "question": "What?", "classification_task_options": ["a", "b", "c", "d"]}
    items = [{**item, "question": f"What {n}?"} for n in range(20)]
    (tmp_path / "topic.json").write_text(json.dumps(items))
    read = prefeval(tmp_path)
    assert read == prefeval(tmp_path / "topic.json")
    assert all(choice.options[choice.correct] == "a" for choice in read)
    assert len({choice.options for choice in read}) > 5
    assert [c.options for c in read] != [c.options for c in prefeval(tmp_path, seed=1)]
    (tmp_path / "topic.json").write_text(json.dumps(items[:3]))
    assert prefeval(tmp_path) == read[:3]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '[{"preference": "p", "question": "q"}]',
        '[{"preference": "p", "question": "q", "classification_task_options": ["a", "a", "b", "c"]}]',
        '[{"preference": "p", "question": "q", "classification_task_options": ["a", "", "b", "c"]}]',
        '[{"preference": 1, "question": "q", "classification_task_options": ["a", "b"]}]',
        '{"preference": "p"}',
    ],
)
def test_what_is_no_data_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "topic.json"
    path.write_text(content)
    for read in (prefeval, personal):
        with pytest.raises(ConfigurationError):
            read(path)
        with pytest.raises(ConfigurationError):
            read(tmp_path / "absent.json")


def test_prefeval_reads_all_topics_of_the_benchmark() -> None:
    read = prefeval(data_folder("prefeval"))
    assert len(read) > 400
    assert len({choice.group for choice in read}) == 10
    assert len({choice.key for choice in read}) == len(read)
    assert {len(choice.options) for choice in read} == {4}


def test_the_shipped_set_gives_no_cue_but_the_preference() -> None:
    """Many domains, all texts different, and no length or position that gives an answer away."""
    items = [json.loads(line) for line in SHIPPED.read_text(encoding="utf-8").splitlines()]
    assert len(items) >= 40
    assert len(Counter(item["domain"] for item in items)) >= 8
    assert len({item["question"] for item in items}) == len(items)
    answers = [item[f"answer_{letter}"] for item in items for letter in "abcd"]
    preferences = [item[f"preference_{letter}"] for item in items for letter in "abcd"]
    assert len(set(answers)) == len(answers)
    assert len(set(preferences)) == len(preferences)
    for item in items:
        lengths = [len(item[f"answer_{letter}"].split()) for letter in "abcd"]
        assert max(lengths) <= 1.35 * min(lengths), item["question"]
    places = Counter(choice.correct for choice in personal(SHIPPED))
    assert max(places.values()) == min(places.values()) == len(items)
    # An answer does not just repeat the words of its preference.
    for item in items:
        for letter in "abcd":
            words = {w for w in item[f"preference_{letter}"].lower().split() if len(w) > 5}
            said = {w.strip(".,;:") for w in item[f"answer_{letter}"].lower().split()}
            assert len(words & said) <= 1, (item["question"], words & said)
