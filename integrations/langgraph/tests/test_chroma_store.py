"""ChromaStore beside LangGraph's InMemoryStore: one behaviour, tested on both; and what only ChromaStore has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import (
    BaseStore,
    GetOp,
    IndexConfig,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from la_agents.errors import (
    ConfigurationError,
    InvalidPreferenceError,
    LaAgentsError,
    StoreMismatchError,
    StoreUnavailableError,
)
from la_agents.preferences.store import PreferenceStore
from la_agents_langgraph import ChromaStore

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def embed(texts: list[str]) -> list[list[float]]:
    """How often each letter occurs: what shares letters is similar."""
    return [[text.lower().count(letter) + 0.01 for letter in LETTERS] for text in texts]


def index(*fields: str) -> IndexConfig:
    config: IndexConfig = {"dims": len(LETTERS), "embed": embed}
    return {**config, "fields": [*fields]} if fields else config


@pytest.fixture(params=["InMemoryStore", "ChromaStore"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStore]:
    if request.param == "InMemoryStore":
        yield InMemoryStore(index=index("text"))
        return
    with ChromaStore(tmp_path, index=index("text")) as store:
        yield store


def keys(items: Any) -> list[str]:
    return [item.key for item in items]


class TestAsInMemoryStore:
    """Every test runs on both."""

    def test_what_was_put_is_got(self, store: BaseStore) -> None:
        value = {"text": "tea ☕", "n": 1, "deep": {"list": [1, None, True], "float": 0.5}}
        store.put(("users", "alice"), "k", value)
        item = store.get(("users", "alice"), "k")
        assert isinstance(item, Item)
        assert (item.key, item.namespace, item.value) == ("k", ("users", "alice"), value)
        assert item.created_at.tzinfo is not None
        assert item.created_at <= item.updated_at

    def test_what_is_not_there_is_none(self, store: BaseStore) -> None:
        assert store.list_namespaces() == []
        assert store.search(("users",)) == []
        assert store.get(("users", "alice"), "k") is None
        store.delete(("users", "alice"), "k")

    def test_a_key_belongs_to_its_namespace(self, store: BaseStore) -> None:
        for namespace in (("a",), ("a", "b"), ("a", "b", "c"), ("b", "a")):
            store.put(namespace, "k", {"at": "/".join(namespace)})
        for namespace in (("a",), ("a", "b"), ("a", "b", "c"), ("b", "a")):
            item = store.get(namespace, "k")
            assert item is not None
            assert item.value == {"at": "/".join(namespace)}

    def test_a_later_put_replaces_the_whole_value(self, store: BaseStore) -> None:
        store.put(("a",), "k", {"text": "one", "old": 1})
        store.put(("a",), "k", {"text": "two"})
        item = store.get(("a",), "k")
        assert item is not None
        assert item.value == {"text": "two"}
        assert len(store.search(("a",))) == 1

    def test_what_is_deleted_is_gone(self, store: BaseStore) -> None:
        store.put(("a",), "k", {"text": "tea"})
        store.put(("a",), "other", {"text": "tea"})
        store.delete(("a",), "k")
        assert store.get(("a",), "k") is None
        assert keys(store.search(("a",), query="tea")) == ["other"]

    def test_a_value_that_is_changed_by_its_reader_stays(self, store: BaseStore) -> None:
        value = {"text": "tea"}
        store.put(("a",), "k", value)
        value["text"] = "coffee"
        item = store.get(("a",), "k")
        assert item is not None
        assert item.value == {"text": "tea"}

    @pytest.mark.parametrize("namespace", [(), ("",), ("a.b",), ("langgraph", "x"), (1,)])
    def test_a_namespace_that_langgraph_refuses_is_refused(self, store: BaseStore, namespace: Any) -> None:
        with pytest.raises(InvalidNamespaceError):
            store.put(namespace, "k", {})

    def test_search_is_under_the_prefix(self, store: BaseStore) -> None:
        for namespace in (("a",), ("a", "b"), ("a", "b", "c"), ("ab",)):
            store.put(namespace, "/".join(namespace), {"text": "tea"})
        assert keys(store.search(())) == ["a", "a/b", "a/b/c", "ab"]
        assert keys(store.search(("a",))) == ["a", "a/b", "a/b/c"]
        assert keys(store.search(("a", "b"))) == ["a/b", "a/b/c"]
        assert keys(store.search(("a", "b", "c"))) == ["a/b/c"]
        assert store.search(("a", "b", "c", "d")) == store.search(("b",)) == []

    @pytest.mark.parametrize(("limit", "offset"), [(2, 0), (2, 2), (2, 4), (10, 0), (1, 9), (0, 0)])
    def test_search_gives_the_page_that_is_asked_for(self, store: BaseStore, limit: int, offset: int) -> None:
        for number in range(5):
            store.put(("a",), str(number), {"text": "tea"})
        expected = ["0", "1", "2", "3", "4"][offset : offset + limit]
        assert keys(store.search(("a",), limit=limit, offset=offset)) == expected

    @pytest.mark.parametrize(
        ("filter", "expected"),
        [
            ({"color": "red"}, ["1", "3"]),
            ({"color": "red", "size": 3}, ["3"]),
            ({"size": {"$gt": 1}}, ["2", "3"]),
            ({"size": {"$gte": 1, "$lt": 3}}, ["1", "2"]),
            ({"size": {"$lte": 1}}, ["1"]),
            ({"color": {"$ne": "red"}}, ["2"]),
            ({"color": {"$eq": "blue"}}, ["2"]),
            ({"deep": {"x": {"$gt": 1}}}, ["2", "3"]),
            ({"deep": {"x": 1}}, ["1"]),
            ({"tags": ["a", "b"]}, ["1"]),
            ({"missing": None}, ["1", "2", "3"]),
            ({"missing": 1}, []),
            ({}, ["1", "2", "3"]),
        ],
    )
    def test_filters(self, store: BaseStore, filter: dict[str, Any], expected: list[str]) -> None:
        for number, color in ((1, "red"), (2, "blue"), (3, "red")):
            tags = ["a", "b"] if number == 1 else ["a"]
            store.put(("a",), str(number), {"color": color, "size": number, "deep": {"x": number}, "tags": tags})
        assert keys(store.search(("a",), filter=filter)) == expected

    def test_an_unknown_operator_is_refused(self, store: BaseStore) -> None:
        store.put(("a",), "k", {"size": 1})
        with pytest.raises((ValueError, ConfigurationError), match=r"\$near"):
            store.search(("a",), filter={"size": {"$near": 1}})

    def test_a_query_orders_by_similarity_and_scores(self, store: BaseStore) -> None:
        for key, text in (("z", "zzz zzz"), ("t", "tea tea tea"), ("c", "coffee")):
            store.put(("a",), key, {"text": text})
        found = store.search(("a",), query="tea")
        assert keys(found) == ["t", "c", "z"]
        assert found[0].score is not None
        assert [item.score for item in found] == sorted((item.score or 0 for item in found), reverse=True)
        assert keys(store.search(("a",), query="tea", limit=1, offset=1)) == ["c"]
        assert store.search(("a",))[0].score is None

    def test_a_query_after_a_filter(self, store: BaseStore) -> None:
        for number in range(10):
            store.put(("a",), str(number), {"text": "tea" if number < 5 else "coffee", "even": number % 2 == 0})
        assert set(keys(store.search(("a",), query="coffee", filter={"even": True}, limit=2))) == {"6", "8"}

    def test_what_is_not_indexed_comes_last_and_without_a_score(self, store: BaseStore) -> None:
        store.put(("a",), "hidden", {"text": "tea"}, index=False)
        store.put(("a",), "no text", {"title": "tea"})
        store.put(("a",), "seen", {"text": "zzz"})
        found = store.search(("a",), query="tea")
        assert keys(found) == ["seen", "hidden", "no text"]
        assert [item.score is None for item in found] == [False, True, True]
        assert keys(store.search(("a",), query="tea", limit=1)) == ["seen"]

    def test_the_best_of_an_items_fields_counts(self, store: BaseStore) -> None:
        store.put(
            ("a",),
            "both",
            {"title": "zzz", "parts": [{"say": "coffee"}, {"say": "tea"}]},
            index=["title", "parts[*].say"],
        )
        store.put(("a",), "other", {"text": "xxx"})
        (first, _) = store.search(("a",), query="tea")
        assert first.key == "both"
        assert first.score == pytest.approx(1.0, abs=1e-3)

    def test_namespaces_are_listed_in_order(self, store: BaseStore) -> None:
        for namespace in (("b", "x", "y"), ("a", "x"), ("b", "x", "z"), ("c",)):
            store.put(namespace, "k", {})
        store.put(("c",), "another", {})
        assert store.list_namespaces() == [("a", "x"), ("b", "x", "y"), ("b", "x", "z"), ("c",)]
        assert store.list_namespaces(prefix=("b",)) == [("b", "x", "y"), ("b", "x", "z")]
        assert store.list_namespaces(suffix=("x",)) == [("a", "x")]
        assert store.list_namespaces(prefix=("*", "x")) == [("a", "x"), ("b", "x", "y"), ("b", "x", "z")]
        assert store.list_namespaces(prefix=("b", "*", "z")) == [("b", "x", "z")]
        assert store.list_namespaces(suffix=("x", "*")) == [("b", "x", "y"), ("b", "x", "z")]
        assert store.list_namespaces(prefix=("b",), suffix=("z",)) == [("b", "x", "z")]
        assert store.list_namespaces(max_depth=1) == [("a",), ("b",), ("c",)]
        assert store.list_namespaces(max_depth=2, limit=2, offset=1) == [("b", "x"), ("c",)]

    def test_in_a_batch_reads_come_before_writes(self, store: BaseStore) -> None:
        store.put(("a",), "k", {"text": "old"})
        results = store.batch(
            [
                PutOp(("a",), "k", {"text": "new"}),
                GetOp(("a",), "k"),
                SearchOp(("a",), query="old", limit=5),
                PutOp(("a",), "k2", {"text": "other"}),
                ListNamespacesOp(match_conditions=(), limit=5),
                GetOp(("a",), "k2"),
            ]
        )
        assert [results[0], results[3], results[5]] == [None, None, None]
        assert results[1].value == {"text": "old"}  # type: ignore[union-attr]
        assert keys(results[2]) == ["k"]
        assert results[4] == [("a",)]
        assert store.get(("a",), "k2") is not None

    def test_in_a_batch_the_last_write_to_a_key_counts(self, store: BaseStore) -> None:
        store.batch([PutOp(("a",), "k", {"n": 1}), PutOp(("a",), "k", {"n": 2}), PutOp(("a",), "gone", {"n": 1})])
        store.batch([PutOp(("a",), "gone", {"n": 2}), PutOp(("a",), "gone", None)])
        item = store.get(("a",), "k")
        assert item is not None
        assert item.value == {"n": 2}
        assert store.get(("a",), "gone") is None

    def test_an_empty_batch_does_nothing(self, store: BaseStore) -> None:
        assert store.batch([]) == []

    def test_what_is_no_operation_is_refused(self, store: BaseStore) -> None:
        with pytest.raises((ValueError, ConfigurationError), match="str"):
            store.batch(["get"])  # type: ignore[list-item]

    async def test_async_does_the_same(self, store: BaseStore) -> None:
        await store.aput(("a", "b"), "k", {"text": "tea"})
        await store.aput(("a", "b"), "k2", {"text": "zzz"})
        item = await store.aget(("a", "b"), "k")
        assert item is not None
        assert item.value == {"text": "tea"}
        assert keys(await store.asearch(("a",), query="tea", limit=1)) == ["k"]
        assert await store.alist_namespaces(prefix=("a",)) == [("a", "b")]
        await store.adelete(("a", "b"), "k")
        assert await store.abatch([GetOp(("a", "b"), "k"), GetOp(("a", "b"), "k2")]) == [
            None,
            await store.aget(("a", "b"), "k2"),
        ]

    async def test_many_tasks_at_once(self, store: BaseStore) -> None:
        import asyncio

        await asyncio.gather(*(store.aput(("a", str(n % 5)), str(n), {"n": n}) for n in range(40)))
        found = await asyncio.gather(*(store.asearch(("a", str(n)), limit=50) for n in range(5)))
        assert [len(items) for items in found] == [8] * 5


# -- ChromaStore alone -------------------------------------------------------------------------------------------------


class Clock:
    """A time that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def chroma(tmp_path: Path, clock: Clock) -> Iterator[ChromaStore]:
    with ChromaStore(tmp_path, index=index(), clock=clock) as store:
        yield store


def test_items_outlive_the_store(tmp_path: Path, chroma: ChromaStore) -> None:
    chroma.put(("a", "b"), "k", {"text": "tea"})
    chroma.close()
    with pytest.raises(StoreUnavailableError):
        chroma.get(("a", "b"), "k")
    with ChromaStore(tmp_path, index=index()) as again:
        assert keys(again.search(("a",), query="tea")) == ["k"]


def test_a_damaged_record_is_an_error_of_this_library(tmp_path: Path, chroma: ChromaStore) -> None:
    import chromadb

    chroma.put(("a", "b"), "k", {"text": "tea"})
    client = chromadb.PersistentClient(str(tmp_path), settings=chromadb.config.Settings(anonymized_telemetry=False))
    for collection in client.list_collections():
        for id in collection.get()["ids"]:
            collection.update(ids=[id], metadatas=[{"item": "{"}])
    with pytest.raises(StoreUnavailableError, match="damaged"):
        chroma.get(("a", "b"), "k")


def test_an_item_keeps_the_time_it_was_created(chroma: ChromaStore, clock: Clock) -> None:
    chroma.put(("a",), "k", {"n": 1})
    clock.forward(1)
    chroma.put(("a",), "k", {"n": 2})
    item = chroma.get(("a",), "k")
    assert item is not None
    assert item.updated_at - item.created_at == timedelta(minutes=1)


def test_an_expired_item_is_seen_by_nothing(chroma: ChromaStore, clock: Clock) -> None:
    chroma.put(("a",), "k", {"text": "tea"}, ttl=10)
    chroma.put(("b",), "k", {"text": "tea"})
    clock.forward(9.9)
    assert chroma.get(("a",), "k", refresh_ttl=False) is not None
    clock.forward(0.1)
    assert chroma.get(("a",), "k") is None
    assert chroma.search(("a",)) == chroma.search(("a",), query="tea") == []
    assert chroma.list_namespaces() == [("b",)]
    chroma.put(("a",), "k", {"text": "new"})
    item = chroma.get(("a",), "k")
    assert item is not None
    assert item.created_at == clock.now


def test_reading_refreshes_unless_it_shall_not(tmp_path: Path, clock: Clock) -> None:
    with ChromaStore(tmp_path, ttl={"default_ttl": 10, "refresh_on_read": True}, clock=clock, index=None) as store:
        for key in ("got", "found", "left"):
            store.put(("a",), key, {"key": key})
        store.put(("a",), "eternal", {"key": "eternal"}, ttl=None)
        clock.forward(8)
        store.get(("a",), "got")
        store.search(("a",), filter={"key": "found"})
        store.search(("a",), filter={"key": "left"}, refresh_ttl=False)
        clock.forward(8)
        assert sorted(keys(store.search(("a",)))) == ["eternal", "found", "got"]
        clock.forward(11)
        assert keys(store.search(("a",))) == ["eternal"]


def test_sweeping_removes_what_has_expired(chroma: ChromaStore, clock: Clock) -> None:
    for number in range(5):
        chroma.put(("a", str(number)), "k", {"n": number}, ttl=number or None)
    clock.forward(2)
    assert chroma.sweep_ttl() == 2
    assert chroma.sweep_ttl() == 0
    assert chroma.list_namespaces() == [("a", "0"), ("a", "3"), ("a", "4")]


def test_a_sweeper_runs_until_it_is_stopped(chroma: ChromaStore, clock: Clock) -> None:
    chroma.put(("a",), "k", {"n": 1}, ttl=1)
    clock.forward(2)
    chroma.start_ttl_sweeper(1)
    chroma.start_ttl_sweeper(1)
    assert chroma.stop_ttl_sweeper()
    assert chroma.stop_ttl_sweeper()
    assert chroma.sweep_ttl() == 0  # it swept once when it started
    with pytest.raises(ConfigurationError):
        chroma.start_ttl_sweeper(-1)


def test_a_bad_value_writes_nothing_of_its_batch(chroma: ChromaStore) -> None:
    bad: list[PutOp] = [
        PutOp(("a",), "bad", {"when": object()}),
        PutOp(("preferences", "alice"), "bad", {"text": " "}),
        PutOp(("preferences", "alice"), "bad", {"nothing": 1}),
        PutOp(("preferences", "alice"), "bad key", {"text": "No nuts."}),
        PutOp(("preferences", "alice", "deep"), "k", {"text": "No nuts."}),
    ]
    for op in bad:
        with pytest.raises(LaAgentsError):
            chroma.batch([PutOp(("a",), "good", {"n": 1}), PutOp(("preferences", "alice"), "p", {"text": "Tea."}), op])
    assert chroma.search(()) == []
    assert chroma.preferences.list("alice") == []


def test_another_embedding_model_is_refused(tmp_path: Path, chroma: ChromaStore) -> None:
    chroma.put(("a",), "k", {"text": "tea"})
    for other in (None, IndexConfig(dims=2, embed=lambda texts: [[1.0, 0.0] for _ in texts])):
        with ChromaStore(tmp_path, index=other) as store, pytest.raises(StoreMismatchError):
            store.get(("a",), "k")
    wrong = IndexConfig(dims=3, embed=embed)
    with ChromaStore(tmp_path / "new", index=wrong) as store, pytest.raises(StoreMismatchError, match="dims"):
        store.put(("a",), "k", {"text": "tea"})


def test_without_an_index_a_query_does_not_order(tmp_path: Path) -> None:
    with ChromaStore(tmp_path, index=None) as store:
        store.put(("a",), "1", {"text": "zzz"})
        store.put(("a",), "2", {"text": "tea"})
        assert keys(store.search(("a",), query="tea")) == ["1", "2"]


def test_the_bundled_embeddings_search_by_meaning(tmp_path: Path) -> None:
    with ChromaStore(tmp_path) as store:
        store.put(("a",), "cat", {"text": "A kitten sleeps on the sofa."})
        store.put(("a",), "car", {"text": "The engine needs new oil."})
        assert keys(store.search(("a",), query="my motor is broken"))[0] == "car"


async def test_embeddings_that_are_only_async_are_awaited(tmp_path: Path) -> None:
    async def later(texts: list[str]) -> list[list[float]]:
        return embed(list(texts))

    with ChromaStore(tmp_path, index={"dims": len(LETTERS), "embed": later}) as store:
        await store.aput(("a",), "tea", {"text": "tea"})
        await store.aput(("a",), "zzz", {"text": "zzz"})
        assert keys(await store.asearch(("a",), query="tea")) == ["tea", "zzz"]


# -- preferences -------------------------------------------------------------------------------------------------------


def test_preferences_are_the_same_records(chroma: ChromaStore) -> None:
    added = chroma.preferences.add("alice", "No nuts.", scope="always", weight=2.0)
    item = chroma.get(("preferences", "alice"), added.id)
    assert item is not None
    assert item.value == {
        "text": "No nuts.",
        "scope": "always",
        "weight": 2.0,
        "source": "explicit",
        "confidence": 1.0,
        "metadata": {},
    }
    chroma.put(("preferences", "alice"), "mine", {"text": "I love hiking."})
    stored = chroma.preferences.get("alice", "mine")
    assert (stored.text, stored.source) == ("I love hiking.", "explicit")
    chroma.put(("preferences", "alice"), added.id, {**item.value, "weight": 1.0})
    assert chroma.preferences.get("alice", added.id).weight == 1.0
    assert [change.kind for change in chroma.preferences.history("alice", added.id)] == ["added", "updated"]
    chroma.delete(("preferences", "alice"), "mine")
    chroma.delete(("preferences", "alice"), "mine")
    assert chroma.get(("preferences", "alice"), "mine") is None
    assert [p.id for p in chroma.preferences.undo("alice", "mine")] == ["mine"]


def test_preferences_are_searched_for_one_user(chroma: ChromaStore) -> None:
    chroma.preferences.add_many("alice", ["I love hiking in the mountains.", "I drink tea."])
    chroma.preferences.add("bob", "I love hiking alone.")
    namespace = ("preferences", "alice")
    assert [i.value["text"] for i in chroma.search(namespace)] == ["I love hiking in the mountains.", "I drink tea."]
    assert chroma.search(namespace, query="a hot drink", limit=1)[0].value["text"] == "I drink tea."
    assert keys(chroma.search(namespace, filter={"text": "nothing"})) == []
    assert chroma.search(()) == []
    assert chroma.list_namespaces() == []
    for across in (("preferences",), ("preferences", "alice", "deep")):
        with pytest.raises(ConfigurationError):
            chroma.search(across)
    with pytest.raises(ConfigurationError):
        chroma.get(("preferences",), "k")


def test_a_preference_can_expire(chroma: ChromaStore) -> None:
    chroma.put(("preferences", "alice"), "k", {"text": "No nuts."}, ttl=10)
    assert chroma.preferences.get("alice", "k").expires_at is not None
    item = chroma.get(("preferences", "alice"), "k")
    assert item is not None
    chroma.put(("preferences", "bob"), "k", item.value)
    assert chroma.preferences.get("bob", "k").expires_at == chroma.preferences.get("alice", "k").expires_at
    with pytest.raises(InvalidPreferenceError, match="expires_at"):
        chroma.put(("preferences", "bob"), "k", {"text": "No nuts.", "expires_at": "soon"})


def test_a_preference_store_of_the_callers_stays_open(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path) as preferences:
        preferences.add("alice", "No nuts.")
        with ChromaStore(tmp_path, preferences=preferences, index=index()) as store:
            assert len(store.search(("preferences", "alice"))) == 1
        assert preferences.count("alice") == 1


# -- LangMem -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.version_info < (3, 11), reason="LangMem imports typing.NotRequired")
def test_langmems_tools_work_on_it(tmp_path: Path) -> None:
    langmem = pytest.importorskip("langmem", reason="LangMem is not installed")
    config: Any = {"configurable": {"user_id": "alice"}}
    with ChromaStore(tmp_path) as store:
        for namespace in (("memories", "{user_id}"), ("preferences", "{user_id}")):
            manage = langmem.create_manage_memory_tool(namespace=namespace, store=store)
            search = langmem.create_search_memory_tool(namespace=namespace, store=store)
            manage.invoke({"content": "I drink tea."}, config)
            manage.invoke({"content": "I love hiking in the mountains.", "action": "create"}, config)
            assert "tea" in str(search.invoke({"query": "a hot drink", "limit": 1}, config))
            (tea,) = store.search((namespace[0], "alice"), query="tea", limit=1)
            manage.invoke({"id": tea.key, "content": "I drink coffee.", "action": "update"}, config)
            assert "coffee" in str(search.invoke({"query": "a hot drink", "limit": 1}, config))
            manage.invoke({"id": tea.key, "action": "delete"}, config)
            assert len(store.search((namespace[0], "alice"))) == 1
        assert [p.text for p in store.preferences.list("alice")] == ["I love hiking in the mountains."]


def test_users_whose_ids_have_a_dot_are_reached_through_the_preferences_only(chroma: ChromaStore) -> None:
    chroma.preferences.add("alice@example.org", "No nuts.")
    assert chroma.preferences.count("alice@example.org") == 1
    with pytest.raises(InvalidNamespaceError):
        chroma.search(("preferences", "alice@example.org"))


def test_what_is_renewed_between_the_sweepers_look_and_its_deletion_stays(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process, on one server, holds none of this process's locks."""
    from chromadb.api.models.Collection import Collection

    with ChromaStore(tmp_path, clock=clock) as store:
        store.put(("a", "b"), "kept", {"n": 1}, ttl=10)
        store.put(("a", "b"), "gone", {"n": 2}, ttl=10)
        clock.forward(20)
        look = Collection.get
        meanwhile = [lambda: store.put(("a", "b"), "kept", {"n": 3}, ttl=10)]

        def looked(self: Collection, *args: Any, **kwargs: Any) -> Any:
            found = look(self, *args, **kwargs)
            while "where" in kwargs and kwargs["where"] and meanwhile and found["ids"]:
                meanwhile.pop()()
            return found

        monkeypatch.setattr(Collection, "get", looked)
        store.sweep_ttl()
        assert not meanwhile
        item = store.get(("a", "b"), "kept")
        assert item is not None
        assert item.value == {"n": 3}
        assert store.get(("a", "b"), "gone") is None


def test_nothing_is_renewed_while_the_sweeper_is_at_work(tmp_path: Path, clock: Clock) -> None:
    with ChromaStore(tmp_path, clock=clock) as store:
        store.put(("a", "b"), "x", {"n": 1}, ttl=10)
        held = []
        sweep = store._shards.delete_expired

        def swept(before: float) -> int:
            held.append(store._writing._is_owned())  # type: ignore[attr-defined]
            return sweep(before)

        store._shards.delete_expired = swept  # type: ignore[method-assign]
        store.sweep_ttl()
        assert held == [True]


def test_what_langmem_writes_is_inferred_and_waits_where_it_would_reword_the_user(chroma: ChromaStore) -> None:
    chroma.put(("preferences", "alice"), "a", {"content": "I ski."})
    assert chroma.preferences.get("alice", "a").source == "inferred"
    chroma.put(("preferences", "alice"), "a", {"content": "I sail."})
    said = chroma.preferences.add("alice", "I'm allergic to nuts.", scope="always")
    chroma.put(("preferences", "alice"), said.id, {"content": "I'm not allergic to anything."})
    assert [each.text for each in chroma.preferences.list("alice")] == ["I sail.", "I'm allergic to nuts."]
    (waiting,) = chroma.preferences.proposals.list("alice")
    assert (waiting.scope, waiting.supersedes) == ("always", (said.id,))


@pytest.mark.parametrize("source", ["approved", "imported", "inferred"])
def test_what_ranks_below_waits_whatever_the_state_of_what_it_would_change(chroma: ChromaStore, source: str) -> None:
    said = chroma.preferences.add("alice", "I'm allergic to nuts.")
    chroma.put(("preferences", "alice"), said.id, {"text": "I love nuts.", "source": source})
    chroma.preferences.forget("alice", said.id)
    chroma.put(("preferences", "alice"), said.id, {"text": "I adore nuts.", "source": source})
    assert chroma.preferences.get("alice", said.id).text == "I'm allergic to nuts."
    assert chroma.preferences.list("alice") == []
    assert [p.text for p in chroma.preferences.proposals.list("alice")] == ["I love nuts.", "I adore nuts."]
