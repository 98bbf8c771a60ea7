"""The core of consolidation: the same words in any script, and what nobody could mean otherwise."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from la_agents.preferences.consolidation.core import contradict, read
from la_agents.preferences.store import PreferenceStore
from la_agents.preferences.words import content_words, folded

OTHER_WORDS = [
    ("ฉันชอบเสื้อ", "ฉันชอบเสือ"),  # shirts, tigers
    ("ฉันชอบม้า", "ฉันชอบมา"),  # horses, to come
    ("मुझे कल पसंद है", "मुझे काल पसंद है"),
    ("أحب الحَمام", "أحب الحمّام"),  # pigeons, the bath
    ("אני אוהב סֵפֶר", "אני אוהב סַפָּר"),
    ("Tôi thích ma", "Tôi thích má"),
    ("Ich trinke Bier in Maßen.", "Ich trinke Bier in Massen."),
    ("Me gusta el ano.", "Me gusta el año."),
    ("J'aime le pâté.", "J'aime la pâte."),
    ("私はバスが好き", "私はパスが好き"),
    ("I like C.", "I like C++."),
    ("I like C.", "I like C#."),
    ("I run 10² metres.", "I run 102 metres."),
    ("I eat 1.5 meals.", "I eat 15 meals."),
    ("No, nuts please.", "No nuts please."),
]
SAME_WORDS = [
    ("I love jazz.", "  i  LOVE jazz!! "),
    ("J'aime le café", unicodedata.normalize("NFD", "j'aime le CAFÉ.")),
    ("ＪＡＺＺ が好き", "jazz が好き。"),
    ("ﾊﾞｽが好き", "バスが好き"),
    ("ΑΓΑΠΩ ΤΟΝ ΚΑΦΕ", "αγαπω τον καφε"),
    ("I don\u2019t ski", "I don't ski"),
    ("I ❤️ dogs", "I ❤ dogs"),
    ("मुझे चाय पसंद है।", "मुझे चाय पसंद है"),
    ("ฉันชอบเสือ", " ฉันชอบเสือ "),
]


@pytest.mark.parametrize(("one", "other"), OTHER_WORDS)
def test_marks_symbols_and_points_tell_words_apart(tmp_path: Path, one: str, other: str) -> None:
    with PreferenceStore(tmp_path) as store:
        store.add("alice", one)
        store.add("alice", other)
        assert [each.text for each in store.list("alice")] == [one, other]
        assert store.proposals.add("alice", [one, other]) == []
        assert len(store.proposals.add("bob", [one, other])) == 2


@pytest.mark.parametrize(("one", "other"), SAME_WORDS)
def test_case_width_and_spaces_do_not(tmp_path: Path, one: str, other: str) -> None:
    assert folded(one) == folded(other)
    with PreferenceStore(tmp_path) as store:
        first = store.add("alice", one)
        assert store.add("alice", other).id == first.id
        assert store.proposals.add("alice", [other]) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("I like tea.", "I don't like tea."),
        ("I love dogs.", "I can't stand dogs."),
        ("I'm vegan.", "I am no longer vegan."),
        ("I eat meat.", "I don't eat meat anymore."),
        ("I never eat breakfast.", "I always eat breakfast."),
        ("Use emojis.", "Please don't use emojis."),
        ("No emojis.", "Use emojis."),
        ("I can swim.", "I cannot swim."),
        ("Always answer in French.", "Reply to me in German from now on."),
        ("My favourite colour is blue.", "My favorite color is green."),
        ("My favourite band is Muse.", "My favourite band is Pixies."),
        ("My name is Anna.", "My name is Anna Maria."),
        ("I am 34.", "I'm 35 years old."),
        ("I'm single.", "I am married."),
        ("Be brief.", "Be detailed."),
        ("Answer formally.", "Answer casually."),
        ("Use metric units.", "Use imperial units."),
        ("I prefer trains over planes.", "I prefer planes to trains."),
    ],
)
def test_what_is_sure_contradicts_either_way(old: str, new: str) -> None:
    assert contradict(read(old), read(new))
    assert contradict(read(new), read(old))
    assert not contradict(read(old), read(old))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Some of my friends are vegan.", "Some of my friends are not vegan."),
        ("I like most cheeses.", "I don't like most cheeses."),
        ("I can eat a few nuts.", "I can't eat a few nuts."),
        ("Several of us smoke.", "Several of us do not smoke."),
        ("I sometimes eat meat.", "I sometimes don't eat meat."),
    ],
)
def test_of_statements_about_some_both_stay(tmp_path: Path, old: str, new: str) -> None:
    with PreferenceStore(tmp_path) as store:
        added = store.add_many("alice", [old, new])
        assert store.list("alice") == added


@pytest.mark.parametrize("text", ["not ", "i prefer ", "I don't like ", "!", "a b ", "Answer in ", "my favorite "])
def test_a_million_words_are_read(tmp_path: Path, text: str) -> None:
    """A pattern whose time is the square of the length would not be done with this before the tests are stopped."""
    text *= 300_000
    read(text)
    content_words(text)
    with PreferenceStore(tmp_path) as store:
        store.add("alice", "I like tea.")
        store.retrieve("alice", text)


def test_all_duplicates_are_replaced_however_many(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path) as store:
        store.add_many("alice", ["I love Chinese food."] * 60, consolidate=False)
        store.add_many("alice", [f"I love Chinese food number {n}." for n in range(60)], consolidate=False)
        new = store.add("alice", "I hate Chinese food.")
        found = [each.text for each in store.list("alice")]
        assert "I love Chinese food." not in found
        assert len(found) == 61
        assert [each.preference.id for each in store.search("alice", "I hate Chinese food.", k=1)] == [new.id]


@pytest.mark.parametrize(("one", "other"), [("I am 180.", "I am 75."), ("I am 1970.", "I am 54 years old.")])
def test_a_number_too_large_for_an_age_is_none(one: str, other: str) -> None:
    assert not contradict(read(one), read(other))
    assert not contradict(read(other), read(one))
