"""Languages that the bundled embeddings do not know: rather nothing than everything is relevant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from la_agents.preferences.embedding.bundled import BundledEmbeddings
from la_agents.preferences.store import PreferenceStore

LANGUAGES = json.loads((Path(__file__).parents[2] / "data" / "messages_in_languages.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path_factory.mktemp("languages")) as store:
        for language, texts in LANGUAGES.items():
            store.add_many(language, texts["preferences"])
        yield store


@pytest.mark.parametrize("language", LANGUAGES)
def test_few_wrong_ones_are_relevant_in_any_language(store: PreferenceStore, language: str) -> None:
    preferences, messages = LANGUAGES[language].values()
    own = dict(zip(messages, preferences, strict=False))  # the last two messages have none
    wrong = [
        scored.preference.text
        for message in messages
        for scored in store.retrieve(language, message)
        if scored.preference.text != own.get(message)
    ]
    assert len(wrong) <= 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_bundled_embeddings_tell_which_languages_they_know(language: str) -> None:
    known = [BundledEmbeddings().knows(message) for message in LANGUAGES[language]["messages"]]
    assert all(known) if language == "English" else sum(known) <= 1


def test_a_single_preference_in_an_unknown_language_is_not_relevant_to_everything(store: PreferenceStore) -> None:
    store.add("bo", "我吃素。")
    assert store.retrieve("bo", "秘鲁的首都是哪里？") == []
    assert [s.preference.text for s in store.search("bo", "我吃素。")] == ["我吃素。"]


def test_short_english_questions_with_rare_words_still_find(store: PreferenceStore) -> None:
    store.add("ann", "I love bulgogi and kimchi.")
    assert not BundledEmbeddings().knows("Suggest gochujang kimchi bulgogi recipes")
    assert store.retrieve("ann", "Suggest gochujang kimchi bulgogi recipes")


def test_other_embeddings_are_taken_to_know_what_they_are_given(tmp_path: Path) -> None:
    from tests.unit.faces.test_faces import WordEmbeddings

    with PreferenceStore(tmp_path, embeddings=WordEmbeddings()) as store:
        store.add("bo", "我 吃 素")
        assert store.retrieve("bo", "我 吃 素", min_relevance=0.1)


PASTED = (
    "Here is the report that I was sent today. The committee met on the third floor and approved the minutes. "
    "Revenue rose by four percent while costs in logistics stayed flat over the quarter. "
) * 40


@pytest.mark.parametrize("place", ["end", "beginning"])
@pytest.mark.parametrize(
    ("preference", "question"),
    [
        ("I love hiking in the mountains.", "Which mountains should I go hiking in?"),
        ("I have a severe peanut allergy.", "Which peanut dishes can I eat with my allergy?"),
        ("I prefer jazz music.", "Which jazz music should I listen to?"),
    ],
)
def test_a_question_is_seen_beside_a_long_text(tmp_path: Path, preference: str, question: str, place: str) -> None:
    message = f"{PASTED}\n\n{question}" if place == "end" else f"{question}\n\n{PASTED}"
    assert len(PASTED.split()) > 1_000
    with PreferenceStore(tmp_path) as store:
        store.add_many("alice", [preference, "I collect stamps from Norway."])
        assert [s.preference.text for s in store.retrieve("alice", message)] == [preference]
        assert store.retrieve("alice", PASTED) == []
