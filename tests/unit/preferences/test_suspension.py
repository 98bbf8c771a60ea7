"""What is contradicted for a time only: it applies again when the other expires, and nothing is lost over it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("text", [GERMAN, "Write as you please."])
def test_what_names_a_locked_one_takes_its_place(store: PreferenceStore, text: str) -> None:
    layer = store.shared("acme")
    locked = layer.add("Answer in English.", locked=True)
    added = layer.add(text, supersedes=[locked.id])
    assert (layer.list(), layer.get(locked.id).superseded_by) == ([added], added.id)


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


def test_what_was_moved_later_counts_whichever_came_last(store: PreferenceStore) -> None:
    french = store.add("alice", FRENCH)
    english = store.add("alice", ENGLISH, expires_at=soon(7200))
    german = store.add("alice", GERMAN, expires_at=soon())
    store.update("alice", english.id, expires_at=soon(0.1))  # the one that was replaced in between
    assert store.get("alice", french.id).superseded_until == german.expires_at
    wait_for(store.update("alice", german.id, expires_at=soon(0.1)))
    assert texts(store) == [FRENCH]
    assert store.verify().is_sound


def test_an_end_that_comes_late_brings_it_back(store: PreferenceStore) -> None:
    french = store.add("alice", FRENCH)
    english = store.add("alice", ENGLISH)
    assert store.get("alice", french.id).is_archived
    wait_for(store.update("alice", english.id, expires_at=soon(0.1)))
    assert texts(store) == [FRENCH]
    store.update("alice", english.id, expires_at=soon())  # it applies again, and has the place again
    assert texts(store) == [ENGLISH]
    assert store.verify().is_sound


@pytest.mark.parametrize("options", [{}, {"expires_at": soon(7200)}])
def test_what_expires_and_is_forgotten_gives_the_place_back(store: PreferenceStore, options: dict[str, Any]) -> None:
    french = store.add("alice", FRENCH)
    english = store.add("alice", ENGLISH, **options)
    store.forget("alice", english.id)
    assert texts(store) == ([FRENCH] if options else [])  # what has no end had it for good
    store.undo("alice", english.id)
    assert texts(store) == [ENGLISH]
    assert store.get("alice", french.id).state == "superseded"


def test_it_is_as_it_was_at_any_time(store: PreferenceStore) -> None:
    store.add("alice", FRENCH)
    before = utc_now()
    english = store.add("alice", ENGLISH, expires_at=soon())
    meanwhile = utc_now()
    wait_for(store.update("alice", english.id, expires_at=soon(0.1)))
    assert [p.text for p in store.list("alice", as_of=before)] == [FRENCH]
    assert [p.text for p in store.list("alice", as_of=meanwhile)] == [ENGLISH]
    assert texts(store) == [FRENCH]


def test_other_words_are_nobodys_place(store: PreferenceStore) -> None:
    french = store.add("alice", FRENCH)
    english = store.add("alice", ENGLISH, expires_at=soon())
    store.update("alice", french.id, scope="always")  # the same words: still suspended
    assert texts(store) == [ENGLISH]
    store.update("alice", french.id, text="Answer in Italian.")
    assert texts(store) == [ENGLISH]
    store.update("alice", english.id, expires_at=None)
    assert store.get("alice", french.id).superseded_until is None


def test_nothing_of_it_is_stored_or_exported(store: PreferenceStore) -> None:
    store.add("alice", FRENCH)
    store.add("alice", ENGLISH, expires_at=soon())
    store.add("alice", GERMAN, expires_at=soon(60))
    stored = [json.dumps(metadata) for _, metadata in raw(store)]
    assert len(stored) == 3
    assert not [each for each in stored if "superseded_until" in each]
    file = StringIO()
    store.export("alice", file)
    assert "superseded_until" not in file.getvalue()


def test_an_import_in_any_order_is_suspended_as_before(store: PreferenceStore) -> None:
    french = store.add("alice", FRENCH)
    english = store.add("alice", ENGLISH, expires_at=soon())
    file = StringIO()
    store.export("alice", file)
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    lines[0]["superseded_until"] = english.expires_at.isoformat()  # type: ignore[union-attr]  # as older releases had it
    for user, order in (("bob", lines), ("carol", lines[::-1])):
        store.import_(user, StringIO("\n".join(map(json.dumps, order))))
        assert texts(store, user) == [ENGLISH]
        wait_for(store.update(user, english.id, expires_at=soon(0.1)))
        assert texts(store, user) == [FRENCH]
        assert store.get(user, french.id).state == "active"
    assert store.verify().is_sound


def test_migration_keeps_it_where_calls_look(store: PreferenceStore) -> None:
    store.add("alice", FRENCH)
    english = store.add("alice", ENGLISH, expires_at=soon())
    store.migrate(2)
    assert store.verify().is_sound
    wait_for(store.update("alice", english.id, expires_at=soon(0.1)))
    assert texts(store) == [FRENCH]


def test_records_of_older_releases_are_read(store: PreferenceStore) -> None:
    """They held an end of their own, the latest of all, and only the last one's id."""
    french = store.add("alice", FRENCH)
    english = store.add("alice", ENGLISH, expires_at=soon(7200))
    german = store.add("alice", GERMAN, expires_at=soon())
    rows = [(shard, id, metadata) for (shard, id), metadata in raw(store)]
    for shard, id, metadata in rows:
        values = json.loads(metadata["preference"])
        if values["id"] == french.id:
            assert values.pop("also_superseded_by") == [english.id]
            values["superseded_until"] = "2001-01-01T00:00:00Z"  # whatever it says, the others say it
            shard.update(ids=[id], metadatas=[{**metadata, "preference": json.dumps(values)}])
    read = store.get("alice", french.id)
    assert (read.superseded_until, read.links) == (english.expires_at, (english.id, german.id))
    assert texts(store) == [GERMAN]
    store.update("alice", english.id, expires_at=soon(60))
    assert store.get("alice", french.id).superseded_until == german.expires_at


def raw(store: PreferenceStore) -> Iterator[tuple[tuple[Any, str], dict[str, Any]]]:
    """All records as Chroma has them: collection and id, and metadata."""
    for shard in store._ledger.shards.collections():
        got: Any = shard.get(include=["metadatas"])
        yield from (((shard, id), metadata) for id, metadata in zip(got["ids"], got["metadatas"], strict=True))
