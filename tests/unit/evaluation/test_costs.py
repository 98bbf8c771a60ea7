"""What an answer costs: hand-written texts, and likelihoods against the model called directly."""

from __future__ import annotations

import pytest
import torch
from langchain_core.messages import AIMessage, HumanMessage

from la_agents.evaluation.costs import Costs, distinct_2, repetition
from la_agents.principles import Principle
from la_agents.prompts.builder import PromptBuilder
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
def costs() -> Costs:
    loaded = tiny_model("llama")
    return Costs(loaded, PromptBuilder(loaded.tokenizer))


def test_nll_is_the_models_own_without_principles(costs: Costs) -> None:
    question, answer = "What should I cook tonight?", [20, 31, 42, 53, 64]
    loaded = pristine_model("llama")
    prompt = list(PromptBuilder(loaded.tokenizer).build_text(question).reference.token_ids)
    with torch.no_grad():
        logits = loaded.model(torch.tensor([prompt + answer]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(answer))
    assert costs.nlls(question, answer)[0] == pytest.approx(float(expected), abs=1e-4)
    assert costs.nlls(question, []) == (None, None)


def test_relevance_prefers_what_answers_the_question(costs: Costs) -> None:
    question = "How do I keep a houseplant alive?"
    near = costs.relevance(question, "Give the plant light and water.")
    far = costs.relevance(question, "The stock market fell on Monday.")
    assert 0.4 < near <= 1.0
    assert far < 0.2
    assert costs.relevance(question, " ") == 0.0


def test_nll_prompted_is_that_of_the_prompt_with_the_principle(costs: Costs) -> None:
    question, answer = "What should I cook tonight?", [20, 31, 42, 53, 64]
    loaded = pristine_model("llama")
    prompts = PromptBuilder(loaded.tokenizer).build_text(question, [Principle("Talk like a pirate.")])
    prompt = list(prompts.branches[0].token_ids)
    with torch.no_grad():
        logits = loaded.model(torch.tensor([prompt + answer]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(answer))
    unaligned, prompted = costs.nlls(question, answer, prompts)
    assert prompted == pytest.approx(float(expected), abs=1e-4)
    assert unaligned == pytest.approx(costs.nlls(question, answer)[0], abs=1e-4)
    assert costs.nlls(question, answer)[1] is None


def test_a_conversation_is_scored_as_it_stands_and_its_last_question_is_what_is_asked(costs: Costs) -> None:
    turns = [HumanMessage("Ça va?"), AIMessage("Beaucoup!"), HumanMessage("What should I cook tonight?")]
    loaded, answer = pristine_model("llama"), [20, 31, 42]
    prompt = list(PromptBuilder(loaded.tokenizer).build(turns).reference.token_ids)
    with torch.no_grad():
        logits = loaded.model(torch.tensor([prompt + answer]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    expected = float(torch.nn.functional.cross_entropy(logits, torch.tensor(answer)))
    found = costs.of(turns, "Cook some rice.", answer)
    assert found["nll"] == pytest.approx(expected, abs=1e-3)
    assert found["relevance"] == pytest.approx(costs.relevance(turns[-1].text, "Cook some rice."), abs=1e-4)


def test_all_costs_are_named_and_an_empty_answer_has_none_but_irrelevance(costs: Costs) -> None:
    none = {"distinct_2": None, "repetition": None, "nll": None, "nll_prompted": None, "relevance": 0.0}
    assert costs.of("Why?", "", []) == none
    assert set(costs.of("Why?", "I am vegetarian.", [5, 6])) == set(none)
