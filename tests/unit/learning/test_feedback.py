"""Ratings: they move what was used in the answer, within bounds, and can be taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from la_agents import ChatLinearAlignment
from la_agents.errors import (
    ConfigurationError,
    InvalidPreferenceError,
    PreferenceNotFoundError,
    UserNotSpecifiedError,
)
from la_agents.learning import FeedbackRecorder
from la_agents.llms import LinearAlignmentLLM
from la_agents.preferences.ratings import WeightRule
from la_agents.preferences.store import PreferenceStore
from tests.tiny import tiny_model

ALICE: Any = {"configurable": {"user_id": "alice"}}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path, layers=["acme"]) as store:
        store.shared("acme").add("Switched off.", weight=0)
        yield store


@pytest.fixture
def llm(store: PreferenceStore) -> ChatLinearAlignment:
    return ChatLinearAlignment(model=tiny_model("llama"), preferences=store, max_tokens=3, principles=["Be kind."])


def test_a_rating_moves_what_the_answer_used(store: PreferenceStore, llm: ChatLinearAlignment) -> None:
    used = store.add("alice", "Answer in French.", scope="always")
    unused = store.add("alice", "I love hiking.", scope="always", weight=0.0)
    shared = store.shared("acme").add("Be polite.", scope="always")
    recorder = FeedbackRecorder(store)
    answer = llm.invoke("Hello", ALICE)
    rating = recorder.rate(answer, +1, user_id="alice")
    assert [p.id for p in rating.changed] == [used.id]
    assert store.get("alice", used.id).weight == pytest.approx(2**0.25)
    assert store.get("alice", unused.id).weight == 0.0
    assert store.shared("acme").get(shared.id).weight == 1.0
    assert [change.kind for change in store.history("alice", used.id)] == ["added", "rated"]


def test_a_rating_can_be_undone(store: PreferenceStore, llm: ChatLinearAlignment) -> None:
    used = store.add("alice", "Answer in French.", scope="always")
    FeedbackRecorder(store).rate(llm.invoke("Hello", ALICE), -1, config=ALICE)
    assert store.get("alice", used.id).weight < 1.0
    store.undo("alice", used.id)
    assert store.get("alice", used.id).weight == 1.0


@given(
    weight=st.floats(0.0, 10.0),
    scores=st.lists(st.floats(-1.0, 1.0), max_size=60),
    rule=st.builds(WeightRule, step=st.floats(0.01, 3.0), least=st.floats(0.01, 1.0), most=st.floats(1.0, 10.0)),
)
def test_no_rating_leaves_the_bounds_or_goes_the_wrong_way(
    weight: float, scores: list[float], rule: WeightRule
) -> None:
    start = weight
    for score in scores:
        moved = rule.apply(weight, score)
        assert (moved - weight) * score >= 0
        weight = moved
    assert min(start, rule.least) <= weight <= max(start, rule.most)


def test_praise_and_blame_cancel() -> None:
    rule = WeightRule()
    assert rule.apply(rule.apply(1.0, 1.0), -1.0) == pytest.approx(1.0)
    with pytest.raises(ConfigurationError):
        WeightRule(step=0.0)


def test_a_run_is_rated_by_its_id_or_by_the_run_around_it(store: PreferenceStore, llm: ChatLinearAlignment) -> None:
    used = store.add("alice", "Answer in French.", scope="always")
    recorder = FeedbackRecorder(store)
    outer = uuid4()
    chain = RunnableLambda(lambda text: text) | llm
    answer = chain.invoke("Hello", {**ALICE, "callbacks": [recorder.callback], "run_id": outer})
    assert [p.id for p in recorder.rate(outer, 0.5, config=ALICE).changed] == [used.id]
    assert [p.id for p in recorder.rate(str(answer.id), 0.5, config=ALICE).changed] == [used.id]
    with pytest.raises(ConfigurationError, match="callbacks"):
        recorder.rate(uuid4(), 1, config=ALICE)


def test_an_answer_inside_a_tool_counts_for_the_run_around_it(store: PreferenceStore, llm: ChatLinearAlignment) -> None:
    used = store.add("alice", "Answer in French.", scope="always")
    recorder, outer = FeedbackRecorder(store), uuid4()

    @tool
    def ask(question: str) -> str:
        """Ask the model."""
        return llm.invoke(question).text

    chain = RunnableLambda(lambda text: {"question": text}) | ask
    chain.invoke("Hello", {**ALICE, "callbacks": [recorder.callback], "run_id": outer})
    assert [p.id for p in recorder.rate(outer, 1, config=ALICE).changed] == [used.id]
    assert not recorder.callback._parents  # nothing is kept of runs that ended


def test_the_plain_llm_can_be_rated_by_run(store: PreferenceStore) -> None:
    used = store.add("alice", "Answer in French.", scope="always")
    recorder = FeedbackRecorder(store)
    run = uuid4()
    llm = LinearAlignmentLLM(model=tiny_model("llama"), preferences=store, max_tokens=3)
    llm.invoke("Hello", {**ALICE, "callbacks": [recorder.callback], "run_id": run})
    assert [p.id for p in recorder.rate(run, 1, config=ALICE).changed] == [used.id]


async def test_async_runs_are_rated_too(store: PreferenceStore, llm: ChatLinearAlignment) -> None:
    used = store.add("alice", "Answer in French.", scope="always")
    recorder = FeedbackRecorder(store)
    run = uuid4()
    await llm.ainvoke("Hello", {**ALICE, "callbacks": [recorder.callback], "run_id": run})
    assert [p.id for p in (await recorder.arate(run, 1, config=ALICE)).changed] == [used.id]


def test_nobody_rates_for_another(store: PreferenceStore, llm: ChatLinearAlignment) -> None:
    used = store.add("alice", "Answer in French.", scope="always")
    recorder = FeedbackRecorder(store)
    answer = llm.invoke("Hello", {**ALICE, "callbacks": [recorder.callback]})
    for which in (answer, str(answer.id)):
        with pytest.raises(PreferenceNotFoundError) as caught:
            recorder.rate(which, -1, "I prefer tea.", user_id="bob")
        assert "French" not in str(caught.value)
    assert store.get("alice", used.id).weight == 1.0
    assert store.proposals.list("bob") == []
    with pytest.raises(UserNotSpecifiedError):
        recorder.rate(answer, 1)


def test_a_comment_becomes_a_proposal(store: PreferenceStore) -> None:
    recorder = FeedbackRecorder(store)
    answer = AIMessage("Hello")
    rating = recorder.rate(answer, -1, "Too long. Please always answer in one line.", user_id="alice")
    assert [p.text for p in rating.proposed] == ["Always answer in one line."]
    assert [p.text for p in recorder.rate(answer, -1, "way too long", user_id="alice").proposed] == ["way too long"]
    assert store.list("alice") == []
    assert len(store.proposals.list("alice")) == 2
    assert recorder.rate(answer, 1, "  ", user_id="alice").proposed == []


@pytest.mark.parametrize("score", [2, -1.1, float("nan"), float("inf"), "good", True, None])
def test_a_score_out_of_range_changes_nothing(store: PreferenceStore, score: Any) -> None:
    with pytest.raises(ConfigurationError):
        FeedbackRecorder(store).rate(AIMessage("Hello"), score, "I prefer tea.", user_id="alice")
    assert store.proposals.list("alice") == []


@pytest.mark.parametrize("score", [2, -1.5, float("nan"), True, "1", None])
def test_the_store_rates_within_limits_only(store: PreferenceStore, score: Any) -> None:
    tea = store.add("alice", "I like tea.")
    with pytest.raises(ConfigurationError, match="score"):
        store.rate("alice", [tea.id], score, WeightRule())
    with pytest.raises(ConfigurationError, match="list of ids"):
        store.rate("alice", tea.id, 1, WeightRule())
    assert store.list("alice") == [tea]


def test_an_endless_comment_changes_nothing(store: PreferenceStore, llm: ChatLinearAlignment) -> None:
    used = store.add("alice", "Answer in French.", scope="always")
    with pytest.raises(InvalidPreferenceError):
        FeedbackRecorder(store).rate(llm.invoke("Hello", ALICE), 1, "x" * 3000, config=ALICE)
    assert store.get("alice", used.id).weight == 1.0


def test_only_the_latest_answers_are_remembered(store: PreferenceStore, llm: ChatLinearAlignment) -> None:
    recorder = FeedbackRecorder(store, max_answers=2)
    runs = [uuid4() for _ in range(3)]
    for run in runs:
        llm.invoke("Hello", {**ALICE, "callbacks": [recorder.callback], "run_id": run})
    with pytest.raises(ConfigurationError):
        recorder.callback.ids_of(runs[0])
    assert recorder.callback.ids_of(runs[2]) == frozenset()
