"""Retrieval on real questions: better than the plain way, as the threshold's description says, without repetition."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.research.retrieval import (
    Question,
    Questions,
    by_cosine,
    by_relevance,
    cross_validated,
    measure,
    read_topics,
)
from la_agents.errors import ConfigurationError
from la_agents.preferences.embedding.bundled import BundledEmbeddings
from la_agents.preferences.retrieval.ranking import estimate_tokens, floor_among
from la_agents.preferences.store import DEFAULT_MIN_RELEVANCE, PreferenceStore
from tests.data_folder import data_folder
from tests.word_embeddings import WordEmbeddings


def test_questions_find_their_preferences_more_often_and_wrong_ones_less() -> None:
    data = Questions(read_topics(data_folder("prefeval")), BundledEmbeddings())
    ours = measure(data, by_relevance, DEFAULT_MIN_RELEVANCE, 10)
    plain = measure(data, by_cosine, 0.25, 10)
    assert ours.recall_at[1] > plain.recall_at[1] + 0.01
    assert ours.recall_at[3] > plain.recall_at[3]
    assert ours.recall_at[5] > 0.97
    assert ours.found > 0.75
    assert ours.false_alarm < plain.false_alarm - 0.03
    assert ours.wrong_topic < min(0.28, plain.wrong_topic - 0.05)


@pytest.mark.parametrize("content", [None, "[]", "{", '[{"question": "?"}]'])
def test_a_folder_without_topics_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "topic.json").write_text(content)
    with pytest.raises(ConfigurationError, match="topics"):
        read_topics(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path) as store:
        wordings = ["I want vegetarian recipes.", "I want vegetarian recipes!!", "Vegetarian recipes are what I want."]
        store.add_many("alice", [*wordings, "I cook for two people."], consolidate=False)
        yield store


def test_three_wordings_of_one_wish_do_not_fill_the_list(store: PreferenceStore) -> None:
    query = "Which vegetarian recipes can I cook tonight?"
    plain = [s.preference.text for s in store.search("alice", query, k=2)]
    found = [s.preference.text for s in store.retrieve("alice", query, k=2, min_relevance=None)]
    assert "I cook for two people." not in plain
    assert "I cook for two people." in found
    assert len(store.retrieve("alice", query, k=9, min_relevance=None)) == 4


@pytest.mark.parametrize(
    ("wordings", "others", "query"),
    [
        (
            ["I like spicy food.", "Spicy food is what I enjoy.", "Spicy cuisine is my thing."],
            ["I cook on a hot plate.", "I have 20 minutes for cooking."],
            "What spicy dish should I cook tonight?",
        ),
        (
            ["I love jazz.", "Jazz music is my favourite.", "I'm into jazz."],
            ["I love vinyl records.", "I dislike loud concerts."],
            "Recommend a jazz album.",
        ),
        (
            ["I like short code examples.", "I prefer short code samples."],
            ["I use Python 3.12.", "I work with asyncio a lot."],
            "Show me code for an HTTP server.",
        ),
    ],
)
def test_wordings_that_are_not_copies_do_not_fill_it_either(
    tmp_path: Path, wordings: list[str], others: list[str], query: str
) -> None:
    with PreferenceStore(tmp_path) as store:
        store.add_many("alice", [*wordings, *others], consolidate=False)
        found = [s.preference.text for s in store.retrieve("alice", query, k=3, min_relevance=None)]
        assert len({*found} & {*wordings}) == 1
        assert {*found} >= {*others}


def test_a_token_budget_is_kept(store: PreferenceStore) -> None:
    store.add("alice", "Always answer in French, with care and in whole sentences.", scope="always")
    query = "Which vegetarian recipes can I cook tonight?"
    everything = [s.preference.text for s in store.retrieve("alice", query, k=9, min_relevance=None)]
    for budget in (0, 6, 20, 25, 1_000):
        found = [s.preference.text for s in store.retrieve("alice", query, k=9, min_relevance=None, max_tokens=budget)]
        assert sum(map(estimate_tokens, found)) <= budget
        assert found == [text for text in everything if text in found]
        assert (found == everything) == (budget == 1_000)
    options: dict[str, Any] = {"max_tokens": 2, "count_tokens": lambda text: 1}
    assert len(store.retrieve("alice", query, k=9, min_relevance=None, **options)) == 2
    with pytest.raises(ConfigurationError, match="max_tokens"):
        store.retrieve("alice", query, max_tokens=-1)


def test_no_budget_cuts_what_fits_a_later_one(store: PreferenceStore) -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("a b c d e") == 5
    assert estimate_tokens("日本語で") == 3


def test_the_threshold_rises_with_the_number_of_candidates_and_only_then() -> None:
    assert floor_among(1, 0.2) == floor_among(10, 0.2) == 0.2
    floors = [floor_among(n, 0.2) for n in (10, 30, 100, 1000)]
    assert floors == sorted(floors)
    assert floors[2] == pytest.approx(0.2 + 0.05 * math.log(10))
    assert floor_among(1000, None) is None


def test_a_threshold_chosen_on_other_topics_keeps_what_it_promises() -> None:
    data = Questions(read_topics(data_folder("prefeval")), BundledEmbeddings())
    (_, ours), (_, plain) = (cross_validated(data, way, (10, 30), seeds=(0,)) for way in (by_relevance, by_cosine))
    for mine, theirs in zip(ours, plain, strict=True):
        assert mine.found - mine.wrong_topic > theirs.found - theirs.wrong_topic + 0.02
        assert mine.recall_at[1] > theirs.recall_at[1]


def test_thresholds_of_one_half_are_not_chosen_on_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions whose own preference is their own text: on such data every threshold up to 1 finds all of them."""
    questions = [Question(f"w{n} x{n}", f"w{n} x{n}", f"topic {n % 4}") for n in range(24)]
    data = Questions(questions, WordEmbeddings())
    floors, (scores,) = cross_validated(data, by_cosine, (10,), seeds=(0,))
    assert scores.found == scores.recall_at[1] == 1.0
    seen: list[set[str]] = []
    users = data.users

    def watched(*args: Any, topics: Any = None, **options: Any) -> Any:
        seen.append(set(topics))
        return users(*args, topics=topics, **options)

    monkeypatch.setattr(data, "users", watched)
    cross_validated(data, by_cosine, (10,), seeds=(0, 1))
    even, odd = {"topic 0", "topic 2"}, {"topic 1", "topic 3"}
    assert seen == [*[even] * 4, *[odd] * 8, *[even] * 4]  # choose on each, then report each on the other one
    assert len(floors) == 2
