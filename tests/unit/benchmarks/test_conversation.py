"""What stands in the conversation before a question, and what is shown of the answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from benchmarks.research.conversation import plan_of, situations
from benchmarks.research.suites import RESEARCH
from la_agents.errors import ConfigurationError
from la_agents.evaluation.cases import Answer, Case
from la_agents.evaluation.questions import read_questions
from la_agents.evaluation.subject import Subject
from la_agents.evaluation.suites import Options, run_suite
from tests.suites import Scripted, run_everywhere_interrupted, run_once
from tests.tiny import tiny_model

UNALIGNED = "Water helps. Light helps, too. So does care. And pat"
ALIGNED = "Mettez la plante devant la fenêtre. Arrosez la plante. Parlez avec la plante."
FEW = Options(methods=("prompt", "calibrated"), principles=("french",), limit=2)


class Listening(Scripted):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(ALIGNED, UNALIGNED)
        self.cases: dict[str, Case] = {}

    def _answer(self, case: Case) -> Answer:
        self.cases[case.key] = case
        return super()._answer(case)


def texts(case: Case) -> list[tuple[type[BaseMessage], str]]:
    assert not isinstance(case.question, str)
    return [(type(message), str(message.text)) for message in case.question]


@pytest.mark.parametrize("name", ["conversation", "drift"])
def test_the_suites_write_their_files_and_resume(name: str, tmp_path: Path) -> None:
    run_once(RESEARCH[name], FEW, tmp_path / "once")
    run_everywhere_interrupted(RESEARCH[name], FEW, tmp_path / "cut")


def test_a_principle_arrives_after_answers_that_ignore_it(tmp_path: Path) -> None:
    subject, questions = Listening(), read_questions()
    run_suite(RESEARCH["conversation"], subject, tmp_path, FEW)
    assert subject.cases["arrives french n=0/prompt/0"].question == questions[0].text
    job = subject.cases["arrives french n=2/calibrated/1"]
    assert texts(job) == [
        (HumanMessage, questions[2].text),
        (AIMessage, "Water helps. Light helps, too."),
        (HumanMessage, questions[3].text),
        (AIMessage, "Water helps. Light helps, too."),
        (HumanMessage, questions[1].text),
    ]
    assert [principle.text for principle in job.principles] == ["Answer in French."]


def test_a_principle_changes_after_answers_that_follow_the_opposite(tmp_path: Path) -> None:
    subject = Listening()
    run_suite(RESEARCH["conversation"], subject, tmp_path, FEW)
    told = subject.cases["earlier/german/3"]
    assert ([principle.text for principle in told.principles], told.setting.key) == (["Answer in German."], "prompt")
    job = subject.cases["changes french n=8/prompt/0"]
    assert len(texts(job)) == 2 * 8 + 1
    answers = {text for kind, text in texts(job) if kind is AIMessage}
    assert answers == {"Mettez la plante devant la fenêtre. Arrosez la plante."}
    assert [principle.text for principle in job.principles] == ["Answer in French."]


def test_an_old_wish_stands_first_and_the_unaligned_model_is_asked_too(tmp_path: Path) -> None:
    subject = Listening()
    done = run_suite(RESEARCH["drift"], subject, tmp_path, FEW)
    said = (HumanMessage, "From now on, in all your answers: Answer in French.")
    for key, num_messages in (("drift french n=0/base/0", 3), ("drift french n=8/prompt/1", 19)):
        found = texts(subject.cases[key])
        assert (found[0], found[1][0], len(found)) == (said, AIMessage, num_messages)
    assert {row["method"] for row in done.rows} == {"base", "prompt", "calibrated"}
    assert {row["adherence"] for row in done.rows if row["method"] == "base"} == {0.0}
    assert {row["adherence"] for row in done.rows if row["method"] == "calibrated"} == {1.0}


def test_a_real_engine_answers_within_a_conversation(tmp_path: Path) -> None:
    options = Options(methods=("prompt", "calibrated"), principles=("pirate",), limit=1)
    usual = RESEARCH["conversation"]
    short = replace(usual, plan=lambda options: plan_of("conversation", options, turns=(0, 1)))  # a tiny context
    done = run_suite(short, Subject(tiny_model("llama")), tmp_path, options)
    assert len(done.rows) == 2 * 2 * 2  # kinds, numbers of turns, settings
    assert len({row["answer"] for row in done.rows if row["kind"] == "arrives"}) > 2
    assert all(row["nll_prompted"] > 0 for row in done.rows if row["num_tokens"])


def test_principles_that_take_no_part_are_refused() -> None:
    assert [one.kind for one in situations("conversation", ("dogs",))] == ["arrives", "changes"]
    with pytest.raises(ConfigurationError, match="'verbose'"):
        situations("drift", ("verbose",))
    with pytest.raises(ConfigurationError, match="'lower-case'"):
        situations("conversation", ("lower-case",))
