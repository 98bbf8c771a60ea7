"""Shared layers: before the user's own, read-only for users, locked or not, seen in the report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from langchain_core.runnables import RunnableConfig

from la_agents.calls.builder import CallBuilder
from la_agents.calls.settings import Personalized
from la_agents.errors import ConfigurationError, InvalidPreferenceError, PreferenceNotFoundError
from la_agents.preferences.consolidation.conflicts import Keep
from la_agents.preferences.preference import utc_now
from la_agents.preferences.store import PreferenceStore
from la_agents.retrievers import PreferenceRetriever

QUERY = "How do I cook rice?"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path, layers=["acme", "kitchen"]) as store:
        store.shared("kitchen").add("Switched off.", weight=0)
        yield store


def found(store: PreferenceStore, user: str = "alice", query: str = QUERY) -> list[tuple[str, str]]:
    return [(scored.layer, scored.preference.text) for scored in store.retrieve(user, query)]


def test_layers_come_first_in_their_order_for_every_user(store: PreferenceStore) -> None:
    store.shared("kitchen").add("I cook rice with little water.", weight=0.5)
    store.shared("acme").add("Be polite.", scope="always", weight=2)
    store.shared("elsewhere").add("Never seen.", scope="always")
    store.add("alice", "Call me Al.", scope="always")
    shared = [("acme", "Be polite."), ("kitchen", "I cook rice with little water.")]
    assert found(store) == [*shared, ("user", "Call me Al.")]
    assert found(store, "bob") == shared
    assert [scored.weight for scored in store.retrieve("bob", QUERY)] == [2, 0.5]


def test_a_locked_one_is_not_overruled_and_others_are(store: PreferenceStore) -> None:
    acme = store.shared("acme")
    acme.add("Use metric units.", scope="always", locked=True)
    acme.add("Answer formally.", scope="always")
    store.add("alice", "Use imperial units.", scope="always")
    store.add("alice", "Answer casually.", scope="always")
    assert found(store) == [("acme", "Use metric units."), ("user", "Answer casually.")]
    assert len(acme.list()) == 2
    assert store.count("alice") == 2
    assert found(store, "bob") == [("acme", "Use metric units."), ("acme", "Answer formally.")]


def test_users_cannot_reach_a_layer_nor_lock(store: PreferenceStore) -> None:
    acme = store.shared("acme")
    shared = acme.add("Be polite.", scope="always")
    store.add("acme", "I ski.")
    for call in (store.forget, store.get, store.undo, store.history):
        with pytest.raises(PreferenceNotFoundError):
            call("acme", shared.id)
    assert store.erase("acme") == 1
    assert acme.list() == [shared]
    with pytest.raises(InvalidPreferenceError, match="locked"):
        store.add_many("alice", [{"text": "I ski.", "locked": True}])
    assert store.count("alice") == 0


def test_a_layer_has_the_operations_of_a_user(store: PreferenceStore, tmp_path: Path) -> None:
    acme = store.shared("acme")
    before = utc_now()
    one, two = acme.add_many(["Be polite.", {"text": "Use metric units.", "locked": True}])
    acme.update(one.id, text="Be very kind.", scope="always")
    acme.forget(one.id)
    assert [change.kind for change in acme.history(one.id)] == ["added", "updated", "forgotten"]
    assert [p.id for p in acme.archive()] == [one.id]
    acme.undo(one.id)
    assert [p.text for p in acme.list()] == ["Be very kind.", "Use metric units."]
    assert (acme.count(), acme.list(as_of=before), len(acme.list(scope="always"))) == (2, [], 1)
    assert acme.get(two.id).locked
    assert store.retrieve("alice", QUERY, as_of=before) == []
    kept = acme.list()
    assert acme.export(tmp_path / "acme.jsonl") == acme.erase() == 2
    assert acme.list() == []
    assert acme.import_(tmp_path / "acme.jsonl") == 2
    assert acme.list() == kept


async def test_async_twins(store: PreferenceStore) -> None:
    acme = store.shared("acme")
    added = await acme.aadd("Be polite.", locked=True)
    assert await acme.alist() == [added]
    assert await acme.aerase() == 1


def test_principles_say_their_layer(store: PreferenceStore) -> None:
    store.shared("acme").add("Be polite.", scope="always", weight=2)
    store.add("alice", "Call me Al.", scope="always")
    principles = CallBuilder.of(Personalized(preferences=store), {"user_id": "alice"}, query=QUERY).principles
    assert [(p.layer, p.text, p.weight) for p in principles] == [("acme", "Be polite.", 2), ("user", "Call me Al.", 1)]


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "user", "call", None])
def test_names_that_mean_something_else_are_refused(store: PreferenceStore, name: str) -> None:
    with pytest.raises(ConfigurationError, match="layer"):
        store.shared(name)
    with pytest.raises(ConfigurationError, match="layer"):
        PreferenceStore("prefs", layers=[name])


def test_layers_are_a_list_without_repetition(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="list of names, got 'acme'"):
        PreferenceStore(tmp_path, layers="acme")
    with PreferenceStore(tmp_path, layers=["acme", "acme"]) as store:
        store.shared("acme").add("Be polite.", scope="always")
        assert len(store.retrieve("alice", QUERY)) == 1


def ask(store: PreferenceStore) -> list[Callable[[], object]]:
    """Every way to a store's layers, but the command line's."""
    alice: RunnableConfig = {"configurable": {"user_id": "alice"}}
    return [
        lambda: store.retrieve("alice", QUERY),
        lambda: store.retrieve("alice", "", k=0),
        lambda: asyncio.run(store.aretrieve("alice", QUERY)),
        lambda: PreferenceRetriever(store=store).invoke(QUERY, config=alice),
        lambda: CallBuilder.of(Personalized(preferences=store), {"user_id": "alice"}, query=QUERY).principles,
    ]


@pytest.mark.parametrize("layers", [["acne"], ["acme", "acne"], ["acne", "acme"], ["Acme "]])
def test_a_layer_that_nobody_knows_is_refused_by_name(tmp_path: Path, layers: list[str]) -> None:
    with PreferenceStore(tmp_path, layers=layers) as store:
        store.shared("acme").add("Never name a competitor.", scope="always", locked=True)
        store.add(layers[0], "I ski.", scope="always")  # a user of that name is no layer
        for way in ask(store):
            with pytest.raises(ConfigurationError, match=r"layers that the store knows, got '(acne|Acme )'; check"):
                way()
        store.shared(layers[-1]).add("Be polite.", scope="always")
        store.shared(layers[0]).add("Be polite.", scope="always")
        for way in ask(store):
            assert way()


def test_a_layer_is_known_while_anything_is_left_of_it(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path, layers=["acme"]) as store:
        acme = store.shared("acme")
        before = utc_now()
        acme.forget(acme.add("Be polite.").id)
        assert store.retrieve("alice", QUERY) == store.retrieve("alice", QUERY, as_of=before) == []
        acme.erase()
        with pytest.raises(ConfigurationError, match="'acme'"):
            store.retrieve("alice", QUERY)


@pytest.mark.parametrize(
    ("locked", "mine"),
    [
        ("Never recommend pork dishes.", "Recommend pork dishes."),
        ("Always answer in English.", "Please reply in French only."),
        ("Always answer in English.", "Use French for everything you write."),
    ],
)
def test_a_locked_one_overrules_a_user_whether_or_not_the_question_calls_for_it(
    store: PreferenceStore, locked: str, mine: str
) -> None:
    store.shared("acme").add(locked, locked=True)
    store.add("eve", mine, scope="always")
    for query in ("What is the capital of Peru?", "Recommend pork dishes for dinner", locked):
        assert mine not in [scored.preference.text for scored in store.retrieve("eve", query, min_relevance=0.9)]
    assert [each.text for each in store.list("eve")] == [mine]


@pytest.mark.parametrize(
    ("keep", "locked", "left"),
    [
        ("both", False, ["Keep every answer short.", "Keep every answer short and simple."]),
        ("newer", False, ["Keep every answer short and simple."]),
        ("newer", True, ["Keep every answer short and simple."]),  # who administers the layer has said so
        ("older", False, ["Keep every answer short."]),
    ],
)
def test_a_layers_possible_conflicts_are_shown_and_settled(
    tmp_path: Path, keep: Keep, locked: bool, left: list[str]
) -> None:
    with PreferenceStore(tmp_path / "prefs") as store:
        layer = store.shared("acme")
        older = layer.add("Keep every answer short.", locked=locked)
        newer = layer.add("Keep every answer short and simple.")
        store.add("alice", "Keep every answer short and plain.")  # another owner
        (conflict,) = layer.conflicts()
        assert (conflict.older.id, conflict.newer.id) == (older.id, newer.id)
        assert store.conflicts("alice") == []
        layer.decide(older.id, newer.id, keep=keep)
        assert [p.text for p in layer.list()] == left
        assert layer.conflicts() == []
        layer.undo(newer.id if keep == "older" else older.id)
        assert len(layer.list()) == 2
        with pytest.raises(ConfigurationError, match="at_most"):
            layer.conflicts(at_most=0)
