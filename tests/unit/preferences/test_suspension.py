"""What is contradicted for a time only: it applies again when the other expires, and nothing is lost over it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest

from la_agents.errors import InvalidPreferenceError
from la_agents.preferences.preference import Preference, Source, utc_now
from la_agents.preferences.store import PreferenceStore

FRENCH, ENGLISH, GERMAN = "Always answer in French.", "Answer in English.", "Answer in German."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path / "prefs") as store:
        yield store


def texts(store: PreferenceStore, user: str = "alice") -> list[str]:
    return [preference.text for preference in store.list(user)]


def soon(seconds: float = 3600) -> datetime:
    return utc_now() + timedelta(seconds=seconds)


def wait_for(preference: Preference) -> None:
    assert preference.expires_at is not None
    time.sleep(max(0.0, (preference.expires_at - utc_now()).total_seconds()) + 0.05)


def test_what_an_expired_one_had_replaced_applies_again(store: PreferenceStore) -> None:
    french = store.add("alice", FRENCH)
    english = store.add("alice", ENGLISH, expires_at=soon())
    assert texts(store) == [ENGLISH]
    assert [p.text for p in store.archive("alice")] == [FRENCH]
    assert store.get("alice", french.id).state == "superseded"
    wait_for(store.update("alice", english.id, expires_at=soon(0.1)))
    assert texts(store) == [FRENCH]
    assert (
        store.retrieve("alice", "Which language should you answer in?", min_relevance=None)[0].preference.id
        == french.id
    )
    assert (store.get("alice", french.id).state, store.get("alice", english.id).state) == ("active", "expired")
    assert store.verify().is_sound


@pytest.mark.parametrize("options", [{"expires_at": soon(-60)}, {"weight": 0.0}])
def test_what_does_not_apply_replaces_nothing(store: PreferenceStore, options: dict[str, object]) -> None:
    store.add("alice", FRENCH)
    store.add("alice", ENGLISH, **options)  # type: ignore[arg-type]
    assert FRENCH in texts(store)


def test_a_third_replaces_what_is_suspended_too(store: PreferenceStore) -> None:
    french = store.add("alice", FRENCH)
    store.add("alice", ENGLISH, expires_at=soon())
    store.add("alice", GERMAN)
    assert texts(store) == [GERMAN]
    assert store.get("alice", french.id).state_at(soon(7200)) == "superseded"


def test_of_two_ends_the_later_counts(store: PreferenceStore) -> None:
    french = store.add("alice", FRENCH)
    late = soon(7200)
    store.add("alice", ENGLISH, expires_at=late)
    store.add("alice", GERMAN, expires_at=soon())
    assert store.get("alice", french.id).superseded_until == late
    assert texts(store) == [GERMAN]


def test_the_end_follows_the_other_one(store: PreferenceStore) -> None:
    french = store.add("alice", FRENCH)
    english = store.add("alice", ENGLISH, expires_at=soon())
    store.update("alice", english.id, expires_at=None)
    assert store.get("alice", french.id).superseded_until is None
    store.undo("alice", english.id)
    assert store.get("alice", french.id).superseded_until == english.expires_at
    assert store.add("alice", "answer in english").expires_at is None  # said again without an end
    assert store.get("alice", french.id).superseded_until is None
    store.undo("alice", english.id)
    assert [p.id for p in store.undo("alice", english.id)] == [french.id]
    assert set(texts(store)) == {FRENCH, ENGLISH}


def test_said_again_it_applies_at_once(store: PreferenceStore) -> None:
    french = store.add("alice", FRENCH)
    english = store.add("alice", ENGLISH, expires_at=soon())
    again = store.add("alice", FRENCH)
    assert (again.id, again.state, texts(store)) == (french.id, "active", [FRENCH])
    assert store.get("alice", english.id).superseded_by == french.id
    store.update("alice", french.id, weight=0)
    assert store.add("alice", FRENCH).weight == 1


@pytest.mark.parametrize("source", ["explicit", "inferred"])
def test_what_is_inferred_brings_nothing_back(store: PreferenceStore, source: Source) -> None:
    french = store.add("alice", FRENCH, source=source)
    store.add("alice", ENGLISH, expires_at=soon())
    again = store.add("alice", FRENCH, source="inferred")
    num_said = 1 if source == "explicit" else 2  # what was said is not touched by what is inferred
    assert (again.id, again.num_said, again.state) == (french.id, num_said, "superseded")
    assert texts(store) == [ENGLISH]


def test_a_suspended_one_comes_and_goes_in_a_file(store: PreferenceStore) -> None:
    store.add("alice", FRENCH)
    store.add("alice", ENGLISH, expires_at=soon())
    file = StringIO()
    assert store.export("alice", file) == 2
    file.seek(0)
    assert store.import_("bob", file) == 2
    assert texts(store, "bob") == [ENGLISH]
    assert [p.superseded_until for p in store.archive("bob")] == [p.superseded_until for p in store.archive("alice")]


def test_a_layers_locked_one_gives_way_to_locked_ones_alone(store: PreferenceStore) -> None:
    layer = store.shared("acme")
    locked = layer.add("Answer in English.", locked=True)
    assert layer.add(GERMAN).state == "superseded"
    assert layer.list() == [locked]
    assert layer.add(GERMAN, locked=True) in layer.list()
    assert layer.get(locked.id).state == "superseded"


def test_a_layers_known_one_can_be_locked(store: PreferenceStore) -> None:
    layer = store.shared("acme")
    brief = layer.add("Keep it brief.")
    assert layer.add("Keep it brief.", locked=True).locked
    assert not layer.update(brief.id, locked=False).locked
    with pytest.raises(InvalidPreferenceError, match="locked"):
        store.update("alice", store.add("alice", "I ski.").id, locked=True)


def test_undoing_what_was_said_again_brings_the_other_back(store: PreferenceStore) -> None:
    french = store.add("alice", FRENCH)
    store.add("alice", ENGLISH, expires_at=soon())
    store.add("alice", FRENCH)
    store.undo("alice", french.id)
    assert texts(store) == [ENGLISH]
    assert store.get("alice", french.id).state == "superseded"


def test_undoing_leaves_what_was_changed_meanwhile(store: PreferenceStore) -> None:
    french = store.add("alice", FRENCH)
    english = store.add("alice", ENGLISH, expires_at=soon())
    store.update("alice", french.id, weight=2)
    (back,) = store.undo("alice", english.id)
    assert (back.id, back.state, back.weight, back.superseded_until) == (french.id, "active", 2, None)
    assert set(texts(store)) == {FRENCH, ENGLISH}


@pytest.mark.parametrize("change", ["update", "say again"])
def test_what_lasts_longer_still_counts_after_a_change(store: PreferenceStore, change: str) -> None:
    french = store.add("alice", FRENCH)
    late, early = soon(7200), soon()
    store.add("alice", ENGLISH, expires_at=late)
    german = store.add("alice", GERMAN, expires_at=early)
    if change == "update":
        store.update("alice", german.id, weight=1.5)
    else:
        store.add("alice", GERMAN, expires_at=early)
    assert store.get("alice", french.id).superseded_until == late
    store.update("alice", german.id, expires_at=soon(9000))
    assert store.get("alice", french.id).superseded_until == store.get("alice", german.id).expires_at


def test_the_end_of_one_moves_nothing_that_is_back_or_says_something_else(store: PreferenceStore) -> None:
    french = store.add("alice", FRENCH)
    english = store.add("alice", ENGLISH, expires_at=soon())
    wait_for(store.update("alice", english.id, expires_at=soon(0.1)))
    then = utc_now()
    store.update("alice", french.id, text="I am allergic to peanuts.")
    store.update("alice", english.id, expires_at=soon())
    assert "I am allergic to peanuts." in texts(store)
    assert [p.text for p in store.list("alice", as_of=then)] == [FRENCH]


def test_said_again_it_gives_no_way_to_an_inference(store: PreferenceStore) -> None:
    store.add("alice", FRENCH)
    store.add("alice", ENGLISH, consolidate=False)
    store.add("alice", FRENCH, source="inferred")
    assert set(texts(store)) == {FRENCH, ENGLISH}
