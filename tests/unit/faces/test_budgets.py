"""`max_divergence` as callers see it: 0 is the unaligned answer, and the report is about what was decoded."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from la_agents import ChatLinearAlignment, LinearAlignmentLLM
from tests.tiny import tiny_model

QUESTION = "What should I cook tonight?"
PRINCIPLES = ["Answer in French.", "Talk like a pirate."]
METHODS = ["tapered", "linear", "cfg", "amulet", "context-steering"]
SAMPLINGS: list[dict[str, Any]] = [{}, {"temperature": 0.9, "seed": 5}, {"temperature": 1.3, "top_p": 0.8, "seed": 11}]


def chat(family: str = "llama", **settings: Any) -> ChatLinearAlignment:
    return ChatLinearAlignment(model=tiny_model(family), max_tokens=16, **settings)


def report(message: BaseMessage) -> dict[str, Any]:
    found: dict[str, Any] = message.response_metadata["alignment"]
    return found


@pytest.mark.parametrize("compose", ["joint", "sum"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=["greedy", "sampled", "nucleus"])
def test_a_budget_of_0_is_the_unaligned_answer(method: str, compose: Any, sampling: dict[str, Any]) -> None:
    aligned = chat(principles=PRINCIPLES, method=method, compose=compose, max_divergence=0.0, **sampling)
    plain = chat(**sampling).invoke(QUESTION)
    answer = aligned.invoke(QUESTION)
    assert answer.content == plain.content
    assert report(answer)["changed_tokens"] == 0
    assert report(answer)["max_divergence"] == pytest.approx(0.0, abs=1e-6)
    assert "".join(str(chunk.content) for chunk in aligned.stream(QUESTION)) == plain.content


@pytest.mark.parametrize("family", ["qwen2", "gemma", "pythia"])
def test_so_it_is_among_batch_mates_and_for_plain_text(family: str) -> None:
    settings: dict[str, Any] = {"principles": PRINCIPLES, "strength": 3.0, "max_divergence": 0.0}
    questions = [QUESTION, "Tell me about the sea.", "Why?"]
    plain = [message.content for message in chat(family).batch(questions)]
    mates = [chat(family, **settings, method=method) for method in METHODS if method != "amulet"]
    for llm in mates:
        assert [message.content for message in llm.batch(questions)] == plain
    texts = LinearAlignmentLLM(model=tiny_model(family), max_tokens=16)
    bound = LinearAlignmentLLM(model=tiny_model(family), max_tokens=16, **settings)
    assert bound.batch(questions) == texts.batch(questions)


@pytest.mark.parametrize("method", METHODS)
def test_a_report_states_no_more_than_the_budget_and_less_than_without(method: str) -> None:
    llm = chat(principles=PRINCIPLES[:1], method=method, temperature=1.0, seed=1)
    free = report(llm.invoke(QUESTION))
    assert free["max_divergence"] > 0.05
    for budget in (0.02, 0.2, 1.0):
        bound = report(llm.invoke(QUESTION, max_divergence=budget))
        assert bound["max_divergence"] <= budget + 1e-4


def test_fluency_and_a_budget_hold_together() -> None:
    llm = chat(principles=PRINCIPLES, method="cfg", strength=8.0, fluency=0.1, max_divergence=0.3)
    assert report(llm.invoke(QUESTION))["max_divergence"] <= 0.3 + 1e-4
