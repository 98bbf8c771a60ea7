"""What a record holds: bounded, kept beside what newer releases store, with one meaning for each time."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from la_agents.errors import ConfigurationError, InvalidPreferenceError
from la_agents.preferences.lifecycle import MAX_HISTORY_CHARS
from la_agents.preferences.limits import Limits
from la_agents.preferences.preference import clock, utc_now
from la_agents.preferences.ratings import WeightRule
from la_agents.preferences.store import PreferenceStore

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path / "prefs", embeddings=DeterministicFakeEmbedding(size=8)) as store:
        yield store


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the clock: `at(days=30)` is thirty days after NOW."""

    def set_to(**delta: float) -> None:
        monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(**delta))

    set_to()
    return set_to


def raw(store: PreferenceStore, user: str = "alice") -> Any:
    """Chroma's own collection of this user."""
    return store._ledger.shards.on(user, lambda shard: shard)


# What was last said, and what was last changed


def test_a_rating_does_not_make_what_has_faded_fresh(store: PreferenceStore, at: Any) -> None:
    id = store.add("alice", "I like jazz.", half_life_days=10).id
    at(days=30)
    assert store.get("alice", id).effective_weight() == pytest.approx(0.125)
    store.rate("alice", [id], -1.0, WeightRule(step=0.25, least=0.01))
    rated = store.get("alice", id)
    assert rated.effective_weight() == pytest.approx(0.125 * 2**-0.25)
    assert (rated.last_said_at, rated.updated_at) == (NOW, NOW + timedelta(days=30))


@pytest.mark.parametrize("change", [{"scope": "always"}, {"weight": 1.0}, {"metadata": {"a": 1}}, {"expires_at": None}])
def test_a_change_of_anything_but_the_words_says_nothing_again(
    store: PreferenceStore, at: Any, change: dict[str, Any]
) -> None:
    id = store.add("alice", "I like jazz.", half_life_days=10).id
    at(days=10)
    store.update("alice", id, **change)
    assert store.get("alice", id).effective_weight() == pytest.approx(0.5)
    store.undo("alice", id)
    assert store.get("alice", id).effective_weight() == pytest.approx(0.5)


def test_said_again_or_in_other_words_it_is_fresh(store: PreferenceStore, at: Any) -> None:
    id = store.add("alice", "I like jazz.", half_life_days=10).id
    at(days=10)
    assert store.add("alice", "I like jazz!", half_life_days=10).effective_weight() == pytest.approx(1.0)
    store.undo("alice", id)
    assert store.get("alice", id).effective_weight() == pytest.approx(0.5)
    assert store.update("alice", id, text="I like old jazz.").effective_weight() == pytest.approx(1.0)


def test_what_is_inferred_again_does_not_make_what_was_said_fresh(store: PreferenceStore, at: Any) -> None:
    id = store.add("alice", "I like jazz.", half_life_days=10).id
    at(days=10)
    store.add("alice", "I like jazz.", source="inferred")
    assert store.get("alice", id).effective_weight() == pytest.approx(0.5)


def test_records_of_older_releases_were_last_said_when_they_were_changed(store: PreferenceStore, at: Any) -> None:
    id = store.add("alice", "I like jazz.", half_life_days=10).id
    shard = raw(store)
    found = shard.get(include=["metadatas"])
    values = json.loads(found["metadatas"][0]["preference"])
    del values["last_said_at"]
    shard.update(ids=found["ids"], metadatas=[{"preference": json.dumps(values)}])
    at(days=10)
    assert store.get("alice", id).last_said_at == NOW
    store.update("alice", id, scope="always")
    assert store.get("alice", id).effective_weight() == pytest.approx(0.5)


# Newer releases


NEWER = [
    {"mood": "calm"},
    {"mood": {"a": [1, None]}, "tier": 3},
    {"source": "sensed"},
    {"scope": "mornings"},
]


@pytest.mark.parametrize("fields", NEWER)
def test_what_a_newer_release_stores_is_read_and_kept(store: PreferenceStore, fields: dict[str, Any]) -> None:
    one, two = store.add_many("alice", ["I ski.", "I sail."])
    shard = raw(store)
    found = shard.get(include=["metadatas", "documents"])
    place = found["documents"].index("I ski.")
    metadata = found["metadatas"][place]
    values = json.loads(metadata["preference"]) | fields
    history = [{**json.loads(metadata["history"])[0], "by_whom": "a newer release", "kind": "sensed"}]
    shard.update(
        ids=[found["ids"][place]], metadatas=[{"preference": json.dumps(values), "history": json.dumps(history)}]
    )
    assert {each.text for each in store.list("alice")} == {"I ski.", "I sail."}
    assert store.verify(repair=True).unreadable == []
    store.update("alice", one.id, weight=2.0)
    store.migrate()
    metadata = raw(store).get(include=["metadatas", "documents"])["metadatas"]
    (kept,) = (json.loads(each["preference"]) for each in metadata if one.id in each["preference"])
    assert kept.items() >= fields.items()
    assert store.get("alice", one.id).source in ("explicit", "inferred")
    assert "a newer release" in str(store.history("alice", one.id)[0].model_dump())
    assert store.get("alice", two.id) == two


def test_what_is_changed_here_counts_more_than_what_a_newer_release_had(store: PreferenceStore) -> None:
    id = store.add("alice", "I ski.").id
    shard = raw(store)
    found = shard.get(include=["metadatas"])
    values = json.loads(found["metadatas"][0]["preference"]) | {"scope": "mornings"}
    shard.update(ids=found["ids"], metadatas=[{"preference": json.dumps(values)}])
    assert store.get("alice", id).scope == "relevant"
    assert store.update("alice", id, scope="always").scope == "always"
    assert store.get("alice", id).scope == "always"


# Bounds


LONG = {"a": "x" * 9_000}


def test_metadata_is_bounded(store: PreferenceStore) -> None:
    id = store.add("alice", "I ski.").id
    calls = (
        lambda: store.add("alice", "I sail.", metadata=LONG),
        lambda: store.add_many("alice", ["I swim.", {"text": "I sail.", "metadata": LONG}]),
        lambda: store.update("alice", id, metadata=LONG),
        lambda: store.proposals.add("alice", [{"text": "I sail.", "metadata": LONG}]),
        lambda: store.import_("alice", io.StringIO(json.dumps({"text": "I sail.", "metadata": LONG}))),
        lambda: store.shared("acme").add("Be kind.", metadata=LONG),
    )
    for call in calls:
        with pytest.raises(InvalidPreferenceError, match=r"metadata: Expected at most 8000 characters"):
            call()
    assert [each.text for each in store.list("alice")] == ["I ski."]


def test_more_metadata_can_be_allowed(tmp_path: Path) -> None:
    fake = DeterministicFakeEmbedding(size=8)
    with PreferenceStore(tmp_path, embeddings=fake, limits=Limits(max_metadata_chars=20_000)) as store:
        id = store.add("alice", "I ski.", metadata=LONG).id
    with PreferenceStore(tmp_path, embeddings=fake) as store:  # what is there is read, and other things are changed
        assert store.update("alice", id, weight=2.0).metadata == LONG


@pytest.mark.parametrize("field", ["metadata", "text"])
def test_a_history_is_bounded_in_length(store: PreferenceStore, field: str) -> None:
    id = store.add("alice", "I ski.").id
    for n in range(60):
        value: Any = {"n": n, "x": "y" * 7_000} if field == "metadata" else f"{n} " + "long " * 380
        store.update("alice", id, **{field: value})
    (metadata,) = raw(store).get(include=["metadatas"])["metadatas"]
    assert len(metadata["history"]) <= MAX_HISTORY_CHARS + 2_000
    history = store.history("alice", id)
    assert (history[0].kind, history[-1].kind) == ("added", "updated")
    assert len(history) > 5
    assert store.undo("alice", id)


def test_an_imported_history_is_bounded(store: PreferenceStore) -> None:
    time = utc_now().isoformat()
    changes = [{"at": time, "kind": "added", "why": "y" * 50_000}]
    changes += [{"at": time, "kind": "updated", "why": "y" * 3_000} for _ in range(100)]
    store.import_("alice", io.StringIO(json.dumps({"id": "a", "text": "I ski.", "history": changes})))
    (metadata,) = raw(store).get(include=["metadatas"])["metadatas"]
    assert len(metadata["history"]) <= MAX_HISTORY_CHARS + 2_000


def test_a_bare_line_imported_again_changes_nothing(store: PreferenceStore, at: Any) -> None:
    store.import_("alice", io.StringIO('{"text": "I ski."}'))
    before = store.list("alice")
    at(days=1)
    store.import_("alice", io.StringIO('{"text": "I ski."}'))
    assert store.list("alice") == before
    assert len(store.history("alice", before[0].id)) == 1


# Operations


def test_each_operation_has_an_id_and_is_undone_by_it(store: PreferenceStore, at: Any) -> None:
    """The clock stands still: times tell nothing apart."""
    id = store.add("alice", "I ski.").id
    store.update("alice", id, weight=2.0)
    store.update("alice", id, weight=3.0)
    operations = [change.operation for change in store.history("alice", id)]
    assert len({*operations}) == 3
    assert None not in operations
    assert store.undo("alice", id)[0].weight == 2.0
    assert store.undo("alice", id)[0].weight == 1.0


# Other libraries' dates


@pytest.mark.parametrize(
    ("date", "last", "first_after"),
    [
        ("2030-01-01", "2030-01-01T23:59:59+00:00", "2030-01-02T00:00:00+00:00"),
        ("2032-02-29", "2032-02-29T12:00:00+00:00", "2032-03-01T00:00:00+00:00"),
        ("2030-12-31", "2030-12-31T23:59:59+00:00", "2031-01-01T00:00:00+00:00"),
        ("2030-06-01T10:00:00", "2030-06-01T09:59:59+00:00", "2030-06-01T10:00:00+00:00"),
        ("2030-06-01T10:00:00+02:00", "2030-06-01T07:59:59+00:00", "2030-06-01T08:00:00+00:00"),
    ],
)
def test_mem0s_date_holds_until_its_end(store: PreferenceStore, date: str, last: str, first_after: str) -> None:
    line = json.dumps({"id": "m1", "memory": "I ski.", "expiration_date": date, "created_at": "2020-01-01T00:00:00Z"})
    store.import_("alice", io.StringIO(line), source_format="mem0")
    preference = store.get("alice", "m1")
    assert preference.state_at(datetime.fromisoformat(last)) == "active"
    assert preference.state_at(datetime.fromisoformat(first_after)) == "expired"


@pytest.mark.parametrize("date", ["9999-12-31", " 9999-12-31 ", "9999-01-01"])
def test_mem0s_last_year_is_no_end(store: PreferenceStore, date: str) -> None:
    line = json.dumps({"id": "m1", "memory": "I ski.", "expiration_date": date})
    assert store.import_("alice", io.StringIO(line), source_format="mem0") == 1
    assert store.get("alice", "m1").expires_at is None


# Layers


@pytest.mark.parametrize("k", [0, 1, 3, 5])
def test_k_counts_the_relevant_ones_of_a_call(tmp_path: Path, k: int) -> None:
    fake = DeterministicFakeEmbedding(size=8)
    with PreferenceStore(tmp_path, embeddings=fake, layers=["acme", "kitchen"]) as store:
        store.shared("acme").add("Be polite.", scope="always")
        for owner in ("acme", "kitchen"):
            store.shared(owner).add_many([f"Rule {n} of {owner}." for n in range(6)])
        store.add_many("alice", [f"My wish {n}." for n in range(6)])
        found = store.retrieve("alice", "What now?", k=k, min_relevance=None)
        assert sum(scored.relevance is not None for scored in found) == k
        assert [scored.preference.text for scored in found if scored.relevance is None] == ["Be polite."]
        order = [scored.layer for scored in found]
        assert order == sorted(order, key=["acme", "kitchen", "user"].index)
        everything = store.retrieve("alice", "What now?", k=18, min_relevance=None)
        best = sorted((s.relevance for s in everything if s.relevance is not None), reverse=True)[:k]
        assert sorted((s.relevance for s in found if s.relevance is not None), reverse=True) == pytest.approx(best)


# Repair


def test_a_store_where_others_may_write_is_not_repaired(tmp_path: Path) -> None:
    import chromadb

    client = chromadb.EphemeralClient(settings=chromadb.Settings(anonymized_telemetry=False))
    fake = DeterministicFakeEmbedding(size=8)
    with PreferenceStore(client=client, name="shared-with-others", embeddings=fake) as store:
        store.add("alice", "I ski.")
        assert store.verify().is_sound
        with pytest.raises(ConfigurationError, match="stop the server and repair with path="):
            store.verify(repair=True)
        assert store.count("alice") == 1


def test_settings_of_a_newer_release_are_passed_over_and_kept(store: PreferenceStore) -> None:
    store.add("alice", "I ski.")
    shards = store._ledger.shards
    root = shards.connection.open().get_collection(store.name)
    root.modify(metadata={**root.metadata, "tier": "gold"})
    shards.forget()
    assert store.count("alice") == 1
    store.migrate(3)
    assert shards.connection.open().get_collection(store.name).metadata["tier"] == "gold"
    assert store.count("alice") == 1


def test_metadata_that_holds_itself_is_refused(store: PreferenceStore) -> None:
    looped: dict[str, Any] = {}
    looped["a"] = [looped]
    with pytest.raises(InvalidPreferenceError, match="less deep nesting"):
        store.add("alice", "I ski.", metadata=looped)


def test_metadata_of_any_depth_is_stored_or_refused_by_name(store: PreferenceStore) -> None:
    for depth in (10, 200, 500, 5_000, 100_000):
        deep: dict[str, Any] = {}
        for _ in range(depth):
            deep = {"a": deep}
        try:
            store.add("alice", f"I ski {depth}.", metadata=deep)
        except InvalidPreferenceError as error:
            assert "metadata" in str(error)  # noqa: PT017
    assert store.list("alice")[0].text == "I ski 10."
