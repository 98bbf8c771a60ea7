"""What an answer costs: hand-written texts, and likelihoods against the model called directly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from langchain_core.messages import AIMessage, HumanMessage

from la_agents.evaluation.cases import Answer, Case
from la_agents.evaluation.methods import BASE, Setting
from la_agents.evaluation.subject import Subject
from la_agents.evaluation.text import distinct_2, repetition
from la_agents.principles import Principle
from tests.tiny import pristine_model, tiny_model


def test_distinct_2_is_the_share_of_new_pairs() -> None:
    assert distinct_2("a b c d") == 1.0
    assert distinct_2("a b a b a") == 0.5
    assert distinct_2("a") is None
    assert distinct_2("") is None


def test_repetition_is_the_share_of_words_said_again() -> None:
    assert repetition("one two three four five six") == 0.0
    assert repetition("one two three four one two three four") == 0.5
    assert repetition("no " * 40) == pytest.approx(39 / 40)
    assert repetition("no no no") is None


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject(tiny_model("llama"))


def answered(
    question: Any, text: str = "", token_ids: Sequence[int] = (), principle: str = "", setting: Setting = BASE
) -> Answer:
    case = Case("", question, (Principle(principle),) if principle else (), setting)
    return Answer(case, text, tuple(token_ids), 0.0, 0.0, "stop")


def nll_of(prompt: Sequence[int], answer: list[int]) -> float:
    """By the model, called directly."""
    with torch.no_grad():
        logits = pristine_model("llama").model(torch.tensor([[*prompt, *answer]]), use_cache=False).logits[0]
    return float(torch.nn.functional.cross_entropy(logits[len(prompt) - 1 : -1], torch.tensor(answer)))


def test_nll_is_the_models_own_without_principles(subject: Subject) -> None:
    question, answer = "What should I cook tonight?", [20, 31, 42, 53, 64]
    prompt = subject.builder.build_text(question).reference.token_ids
    assert subject.nlls(answered(question, "", answer)) == (pytest.approx(nll_of(prompt, answer), abs=1e-4), None)
    assert subject.nlls(answered(question)) == (None, None)


def test_relevance_prefers_what_answers_the_question(subject: Subject) -> None:
    question = "How do I keep a houseplant alive?"
    near = subject.relevance(answered(question, "Give the plant light and water."))
    far = subject.relevance(answered(question, "The stock market fell on Monday."))
    assert 0.4 < near <= 1.0
    assert far < 0.2
    assert subject.relevance(answered(question, " ")) == 0.0


def test_nll_prompted_is_that_of_the_prompt_with_the_principle(subject: Subject) -> None:
    question, answer, pirate = "What should I cook tonight?", [20, 31, 42, 53, 64], "Talk like a pirate."
    for setting in (Setting("prompt"), Setting("linear", 2.0), Setting("prompt-system"), Setting("tapered-first", 1.0)):
        placings = [setting.placing]
        prompts = subject.builder.build_text(question, [Principle(pirate)], placings=placings)
        expected = nll_of(prompts.branches[0].token_ids, answer)
        unaligned, prompted = subject.nlls(answered(question, "", answer, pirate, setting))
        assert prompted == pytest.approx(expected, abs=1e-4)
        assert unaligned == pytest.approx(subject.nlls(answered(question, "", answer))[0], abs=1e-4)


def test_a_conversation_is_scored_as_it_stands_and_its_last_question_is_what_is_asked(subject: Subject) -> None:
    turns = (HumanMessage("Ça va?"), AIMessage("Beaucoup!"), HumanMessage("What should I cook tonight?"))
    found = subject.describe(answered(turns, "Cook some rice.", [20, 31, 42]))
    expected = nll_of(subject.builder.build(turns).reference.token_ids, [20, 31, 42])
    assert found["nll"] == pytest.approx(expected, abs=1e-3)
    last = subject.relevance(answered("What should I cook tonight?", "Cook some rice."))
    assert found["relevance"] == pytest.approx(last, abs=1e-4)


def test_all_costs_are_named_and_an_empty_answer_has_none_but_irrelevance(subject: Subject) -> None:
    costs = {"distinct_2": None, "repetition": None, "nll": None, "nll_prompted": None, "relevance": 0.0}
    none = {**costs, "divergence": 0.0, "changed": 0.0, "num_tokens": 0, "finish": "stop", "answer": ""}
    assert subject.describe(answered("Why?")) == none
    assert list(subject.describe(answered("Why?", "I am vegetarian.", [5, 6]))) == list(none)
