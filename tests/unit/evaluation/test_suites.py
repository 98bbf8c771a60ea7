"""The suites of open questions on a tiny model: what is asked, what is resumed, what is shown."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from la_agents.errors import ConfigurationError
from la_agents.evaluation.adherence import MEASURED
from la_agents.evaluation.calibration import calibration_suite
from la_agents.evaluation.cases import Case
from la_agents.evaluation.choosing import CHOICES
from la_agents.evaluation.methods import BASE, Setting
from la_agents.evaluation.questions import DEFAULT_QUESTIONS, read_questions
from la_agents.evaluation.steerability import STEERABILITY
from la_agents.evaluation.subject import Subject
from la_agents.evaluation.suites import Options, Suite, run_suite
from la_agents.principles import Principle
from tests.suites import Scripted, rows_of, run_everywhere_interrupted, run_once
from tests.tiny import tiny_model

SMALL = [
    (
        STEERABILITY,
        Options(methods=("prompt", "linear", "best-of-n"), strengths=(1.0,), principles=("french", "concise"), limit=2),
    ),
    (calibration_suite(), Options(principles=("pirate",), strengths=(1.0,), limit=2)),
]


@pytest.fixture(scope="module")
def tiny() -> Subject:
    return Subject(tiny_model("llama"))


@pytest.mark.parametrize(("suite", "options"), SMALL)
def test_a_suite_writes_rows_a_page_and_a_picture_with_provenance(
    suite: Suite, options: Options, tmp_path: Path
) -> None:
    run_once(suite, options, tmp_path)


@pytest.mark.parametrize(("suite", "options"), SMALL)
def test_a_suite_interrupted_anywhere_ends_in_the_same_files(suite: Suite, options: Options, tmp_path: Path) -> None:
    run_everywhere_interrupted(suite, options, tmp_path)


def test_what_a_suite_does_not_honour_is_refused(tmp_path: Path) -> None:
    for suite, options in (
        (calibration_suite(), Options(methods=("linear",))),
        (calibration_suite(), Options(budgets=(0.5,))),
        (CHOICES["personal-preference"], Options(data=PERSONAL, principles=("french",))),
    ):
        with pytest.raises(ConfigurationError, match=f"Expected options that {suite.name} has"):
            run_suite(suite, Scripted("Oui."), tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_a_block_of_answers_does_not_depend_on_what_was_asked_before(tiny: Subject) -> None:
    cases = [
        Case("", question.text, (Principle("Talk like a pirate."),), setting, max_tokens=24, seed=question.index)
        for question in read_questions(limit=4)
        for setting in (
            Setting("prompt"),
            Setting("linear", 1.0),
            Setting("linear", 3.0),
            Setting("best-of-n", num_samples=4),
        )
    ]
    first = tiny.answer(cases)
    tiny.answer([*cases[3:9], Case("", "What is the sea?", (), BASE, max_tokens=90)])
    again = tiny.answer(cases)
    assert [a.token_ids for a in again] == [a.token_ids for a in first]
    assert [a.mean_divergence for a in again] == pytest.approx([a.mean_divergence for a in first], rel=1e-3, abs=1e-5)
    assert [answer.case for answer in first] == cases


def test_the_same_seed_gives_the_same_file_from_a_real_engine(tiny: Subject, tmp_path: Path) -> None:
    options = Options(methods=("prompt", "linear", "best-of-n"), strengths=(1.0,), principles=("french",), limit=2)
    first, again = (run_suite(STEERABILITY, tiny, tmp_path / name, options).files[0] for name in ("a", "b"))
    assert first.read_bytes() == again.read_bytes()
    rows = rows_of(tmp_path / "a", "steerability")
    assert [row["key"] for row in rows] == [
        "unaligned/0",
        "unaligned/1",
        *(f"french/{s}/{q}" for q in (0, 1) for s in ("base", "prompt", "linear strength=1", "best-of-n n=4")),
    ]
    assert all(row["divergence"] > 0 for row in rows if row.get("method") == "linear")
    base = next(row for row in rows if row["key"] == "french/base/0")
    assert base["num_tokens"] <= MEASURED["french"].max_tokens
    assert (base["divergence"], base["changed"], "answer" in base) == (0.0, 0.0, False)


def test_a_perfect_method_scores_1_and_one_that_cheats_0(tmp_path: Path) -> None:
    options = Options(methods=("prompt",), principles=("french",), limit=3)
    perfect = run_suite(STEERABILITY, Scripted("Placez la plante près d'une fenêtre."), tmp_path / "perfect", options)
    assert {row["adherence"] for row in perfect.rows if row["method"] == "prompt"} == {1.0}
    assert {row["adherence"] for row in perfect.rows if row["method"] == "base"} == {0.0}
    for number, cheat in enumerate(("", "Answer in French.", "oui " * 40)):
        cheated = run_suite(STEERABILITY, Scripted(cheat), tmp_path / str(number), options)
        assert {row["adherence"] for row in cheated.rows} == {0.0}, cheat


def test_length_is_asked_only_where_the_unaligned_answer_ends_by_itself(tmp_path: Path) -> None:
    options = Options(methods=("prompt",), principles=("concise", "ending"), limit=2)
    short = run_suite(STEERABILITY, Scripted("Yes, water helps."), tmp_path / "short", options)
    assert {row["principle"] for row in short.rows} == {"concise", "ending"}
    long = Scripted("Yes, water helps.", unaligned="The plant needs water and light every day. " * 30)
    assert run_suite(STEERABILITY, long, tmp_path / "long", Options(principles=("french", "ending"), limit=2)).rows
    assert {row["principle"] for row in rows_of(tmp_path / "long", "steerability") if "principle" in row} == {"french"}


PERSONAL = Path(__file__).parents[2] / "data" / "personal_preference.jsonl"


def test_choices_are_made_resumed_and_shown(tiny: Subject, tmp_path: Path) -> None:
    options = Options(data=PERSONAL, methods=("prompt", "linear"), strengths=(1.0,), limit=3)
    done = run_suite(CHOICES["personal-preference"], tiny, tmp_path, options)
    assert len(done.rows) == 3 * 4 * 3  # questions, askers, settings with the unaligned model
    assert len({row["group"] for row in done.rows}) == 3
    assert "likelihood" in done.files[1].read_text()
    whole = done.files[0].read_bytes()
    done.files[0].write_bytes(whole[: len(whole) // 2])
    assert run_suite(CHOICES["personal-preference"], tiny, tmp_path, options).files[0].read_bytes() == whole
    with pytest.raises(ConfigurationError, match="Expected --data"):
        run_suite(CHOICES["prefeval-mcq"], tiny, tmp_path, Options())


def test_other_options_need_another_folder(tmp_path: Path) -> None:
    subject = Scripted("Oui, mettez de l'eau.")
    run_suite(STEERABILITY, subject, tmp_path, SMALL[0][1])
    with pytest.raises(ConfigurationError, match="its settings differ"):
        run_suite(STEERABILITY, subject, tmp_path, Options(principles=("french",), limit=1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(methods=("magic",)), "'magic'"),
        (Options(principles=("cats",)), "'cats'"),
        (Options(strengths=(-2.0,)), "strength"),
        (Options(budgets=(-1.0,)), "fluency"),
        (Options(limit=0), "limit"),
        (Options(data=Path("no/such.json")), "Expected a JSON list"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(options: Options, said: str, tmp_path: Path) -> None:
    subject = Scripted("Oui.")
    with pytest.raises(ConfigurationError, match=said):
        run_suite(STEERABILITY, subject, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()
    assert subject.asked == []


@pytest.mark.parametrize("package", ["matplotlib", "py3langid", "scipy", "vaderSentiment"])
def test_a_missing_package_is_named_before_anything_is_done(
    package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what an import finds where it is not installed
    subject = Scripted("Oui.")
    with pytest.raises(ConfigurationError, match=rf"Expected {package} .* .pip install 'la-agents\[evaluation\]'"):
        run_suite(STEERABILITY, subject, tmp_path / "out", Options(limit=1))
    assert subject.asked == []


def test_the_librarys_questions_are_there_and_bad_files_are_named(tmp_path: Path) -> None:
    own = read_questions()
    assert len(own) >= 20
    assert len({question.text for question in own}) == len(own)
    assert DEFAULT_QUESTIONS.is_file()
    for content in ("[]", "{", '[{"index": 1}]', '[{"index": 1, "question": " "}]', "3"):
        file = tmp_path / "questions.json"
        file.write_text(content)
        with pytest.raises(ConfigurationError):
            read_questions(file)
    file.write_text(json.dumps([{"index": 1, "question": "Why?"}, {"index": 1, "question": "How?"}]))
    with pytest.raises(ConfigurationError, match="index 1 twice"):
        read_questions(file)
