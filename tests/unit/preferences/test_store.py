"""The store's operations on a real embedded Chroma in a temporary folder."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import chromadb
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from la_agents.errors import (
    ConfigurationError,
    InvalidPreferenceError,
    LaAgentsError,
    PreferenceNotFoundError,
    StoreMismatchError,
    StoreUnavailableError,
    UserNotSpecifiedError,
)
from la_agents.preferences.embedding.bundled import BundledEmbeddings
from la_agents.preferences.limits import Limits
from la_agents.preferences.preference import PreferenceDraft, utc_now
from la_agents.preferences.store import PreferenceStore

PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path / "prefs") as store:
        yield store


def texts(store: PreferenceStore, user: object) -> list[str]:
    return [preference.text for preference in store.list(user)]


# What is stored comes back


def test_add_returns_what_get_and_list_return(store: PreferenceStore) -> None:
    expires_at = utc_now() + timedelta(days=1)
    added = store.add(
        "alice",
        " I am vegetarian. ",
        scope="always",
        weight=0.5,
        expires_at=expires_at,
        metadata={"via": ["chat", 1]},
    )
    assert (added.text, added.scope, added.weight) == ("I am vegetarian.", "always", 0.5)
    assert (added.user_id, added.source, added.metadata) == ("alice", "explicit", {"via": ["chat", 1]})
    assert added.expires_at == expires_at
    assert added.created_at == added.updated_at
    assert store.get("alice", added.id) == added
    assert store.list("alice") == [added]


def test_add_many_keeps_the_order_and_takes_all_three_forms(store: PreferenceStore) -> None:
    added = store.add_many(
        "alice",
        iter(["Be brief.", {"text": "I ski.", "weight": 2}, PreferenceDraft(text="No nuts.", scope="always")]),
    )
    assert [(p.text, p.weight, p.scope) for p in added] == [
        ("Be brief.", 1.0, "relevant"),
        ("I ski.", 2.0, "relevant"),
        ("No nuts.", 1.0, "always"),
    ]
    assert store.list("alice") == added
    assert store.list("alice", scope="always") == added[2:]
    assert store.add_many("alice", []) == []


def test_add_many_is_all_or_nothing(store: PreferenceStore) -> None:
    with pytest.raises(InvalidPreferenceError, match="item 1"):
        store.add_many("alice", ["Be brief.", ""])
    with pytest.raises(InvalidPreferenceError, match="wrap a single one in a list"):
        store.add_many("alice", "Be brief.")
    assert store.count("alice") == 0


def test_add_many_refuses_what_cannot_be_written_at_once(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path, embeddings=DeterministicFakeEmbedding(size=2)) as store:
        with pytest.raises(InvalidPreferenceError, match="5461"):
            store.add_many("alice", [f"preference {n}" for n in range(5_462)])
        assert store.count("alice") == 0


def test_update_changes_what_is_given_only(store: PreferenceStore) -> None:
    added = store.add("alice", "I ski.", scope="always", expires_at=utc_now() + timedelta(days=1), metadata={"a": 1})
    updated = store.update("alice", added.id, text="I sail.", expires_at=None)
    times = {"updated_at": updated.updated_at, "last_said_at": updated.updated_at}
    assert updated == added.model_copy(update={"text": "I sail.", "expires_at": None, **times})
    assert updated.updated_at > added.updated_at
    assert store.get("alice", added.id) == updated
    found = store.search("alice", "boats and sailing", k=1)[0]
    assert found.preference == updated
    assert found.relevance is not None
    assert found.relevance > 0.3
    assert store.update("alice", added.id, metadata={}).metadata == {}


@pytest.mark.parametrize(
    "change", [{"text": ""}, {"weight": -1}, {"scope": "never"}, {"expires_at": datetime(2030, 1, 1)}]
)
def test_a_refused_update_changes_nothing(store: PreferenceStore, change: dict[str, Any]) -> None:
    added = store.add("alice", "I ski.")
    with pytest.raises(InvalidPreferenceError):
        store.update("alice", added.id, **change)
    assert store.get("alice", added.id) == added


@pytest.mark.parametrize(
    "change", [{"review": "rejected"}, {"superseded_by": "x"}, {"supersedes": ["x"]}, {"user_id": "bob"}, {"txt": "x"}]
)
def test_what_cannot_be_changed_is_refused(store: PreferenceStore, change: dict[str, Any]) -> None:
    layer = store.shared("acme")
    added, shared = store.add("alice", "I ski."), layer.add("Be polite.")
    for call in (lambda: store.update("alice", added.id, **change), lambda: layer.update(shared.id, **change)):
        with pytest.raises(ConfigurationError, match=f"got {next(iter(change))}"):
            call()
    assert (store.list("alice"), layer.list()) == ([added], [shared])


def test_update_needs_something_to_change(store: PreferenceStore) -> None:
    with pytest.raises(ConfigurationError, match="text, scope, weight"):
        store.update("alice", store.add("alice", "I ski.").id)


def test_forget_returns_what_went(store: PreferenceStore) -> None:
    kept, gone = store.add_many("alice", ["I ski.", "I sail."])
    assert store.forget("alice", gone.id) == gone
    assert store.list("alice") == [kept]
    with pytest.raises(PreferenceNotFoundError):
        store.forget("alice", gone.id)


def test_erase_takes_everything_of_one_user(store: PreferenceStore) -> None:
    store.add_many("alice", ["I ski.", {"text": "Old.", "expires_at": PAST}])
    store.add("bob", "I sail.")
    assert store.erase("alice") == 2
    assert store.erase("alice") == 0
    assert (store.count("alice"), texts(store, "bob")) == (0, ["I sail."])


def test_expired_ones_are_kept_and_not_used(store: PreferenceStore) -> None:
    expired = store.add("alice", "I ski.", scope="always", expires_at=PAST)
    assert store.get("alice", expired.id) == expired
    assert (store.list("alice"), store.count("alice")) == ([], 0)
    assert store.search("alice", "I ski.") == store.retrieve("alice", "I ski.") == []
    assert store.update("alice", expired.id, expires_at=None) in store.list("alice")


# Finding


@pytest.fixture
def cook(store: PreferenceStore) -> PreferenceStore:
    store.add("alice", "Always answer in French.", scope="always")
    store.add("alice", "I love science fiction.")
    store.add("alice", "I am vegetarian.")
    store.add("alice", "I hate cooking for long.", weight=0)
    return store


def test_retrieve_gives_the_always_ones_then_the_relevant(cook: PreferenceStore) -> None:
    found = cook.retrieve("alice", "What should I cook tonight?")
    assert [(s.preference.text, s.relevance is None) for s in found] == [
        ("Always answer in French.", True),
        ("I am vegetarian.", False),
    ]


def test_search_ranks_all_active_ones(cook: PreferenceStore) -> None:
    found = cook.search("alice", "What should I cook tonight?", k=10)
    relevances = [s.relevance or 0.0 for s in found]
    assert len(found) == 4
    assert relevances == sorted(relevances, reverse=True)
    assert cook.search("alice", "What should I cook tonight?", k=2) == found[:2]
    assert cook.search("alice", "What should I cook tonight?", min_relevance=relevances[1]) == found[:2]


def test_the_same_text_has_relevance_one(cook: PreferenceStore) -> None:
    best = cook.search("alice", "I am vegetarian.", k=1)[0]
    assert best.relevance == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("query", ["", "  "])
def test_nothing_resembles_a_blank_query(cook: PreferenceStore, query: str) -> None:
    assert cook.search("alice", query) == []
    assert [s.preference.scope for s in cook.retrieve("alice", query)] == ["always"]


def test_k_of_zero_leaves_the_always_ones(cook: PreferenceStore) -> None:
    assert [s.preference.scope for s in cook.retrieve("alice", "cook", k=0)] == ["always"]


def test_a_query_may_hold_anything(cook: PreferenceStore) -> None:
    assert len(cook.search("alice", "\ud800 \x00 " + "cook " * 3_000)) == 4


@pytest.mark.parametrize(
    "limits", [{"k": -1}, {"k": 1.5}, {"min_relevance": 1.1}, {"min_relevance": float("nan")}, {"min_relevance": "x"}]
)
def test_limits_out_of_range_are_refused(store: PreferenceStore, limits: dict[str, Any]) -> None:
    for find in (store.search, store.retrieve):
        with pytest.raises(ConfigurationError, match=next(iter(limits))):
            find("alice", "cook", **limits)


def test_what_is_of_another_type_is_refused(store: PreferenceStore) -> None:
    wrong: Any = None
    for find in (store.search, store.retrieve):
        with pytest.raises(ConfigurationError, match="query to be a text, got NoneType"):
            find("alice", wrong)
    with pytest.raises(InvalidPreferenceError, match="list of preferences, got NoneType"):
        store.add_many("alice", wrong)
    for metadata in ("x", [1]):
        with pytest.raises(InvalidPreferenceError, match="metadata"):
            store.add("alice", "I ski.", metadata=metadata)  # type: ignore[arg-type]
    scope: Any = "sometimes"
    with pytest.raises(ConfigurationError, match="scope to be one of always, relevant"):
        store.list("alice", scope=scope)
    with pytest.raises(ConfigurationError, match="limits"):
        Limits(max_records="many")  # type: ignore[arg-type]
    assert store.count("alice") == 0


class Refusing(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        raise AssertionError(text)


def test_no_query_is_embedded_in_vain(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path, embeddings=Refusing()) as store:
        store.add("alice", "Be brief.", scope="always")
        assert len(store.retrieve("alice", "cook")) == 1
        assert store.retrieve("bob", "cook") == []


# Whose it is


def test_int_and_uuid_are_users_by_their_text(store: PreferenceStore) -> None:
    uuid = UUID(int=5)
    store.add(7, "I ski.")
    store.add(uuid, "I sail.")
    assert (texts(store, "7"), texts(store, str(uuid))) == (["I ski."], ["I sail."])


CALLS: list[tuple[str, Callable[[PreferenceStore, Any], object]]] = [
    ("add", lambda s, u: s.add(u, "I ski.")),
    ("add_many", lambda s, u: s.add_many(u, ["I ski."])),
    ("get", lambda s, u: s.get(u, "1")),
    ("update", lambda s, u: s.update(u, "1", weight=2)),
    ("forget", lambda s, u: s.forget(u, "1")),
    ("history", lambda s, u: s.history(u, "1")),
    ("undo", lambda s, u: s.undo(u, "1")),
    ("archive", lambda s, u: s.archive(u)),
    ("list", lambda s, u: s.list(u)),
    ("count", lambda s, u: s.count(u)),
    ("search", lambda s, u: s.search(u, "ski")),
    ("retrieve", lambda s, u: s.retrieve(u, "ski")),
    ("erase", lambda s, u: s.erase(u)),
    ("export", lambda s, u: s.export(u, "never-written.jsonl")),
    ("import_", lambda s, u: s.import_(u, "never-read.jsonl")),
]


@pytest.mark.parametrize(("name", "call"), CALLS, ids=[name for name, _ in CALLS])
@pytest.mark.parametrize("user", [None, "", " ", "a\x00b", "x" * 257, 1.5])
def test_every_operation_needs_a_user(tmp_path: Path, name: str, call: Any, user: object) -> None:
    store = PreferenceStore(tmp_path / "prefs")
    with pytest.raises(UserNotSpecifiedError):
        call(store, user)
    assert not (tmp_path / "prefs").exists()


def test_another_users_id_is_as_unknown_as_any(store: PreferenceStore) -> None:
    hers = store.add("alice", "I ski.")
    messages = set()
    for id in (hers.id, "nope", "", None, f"{hers.id}:", 7):
        for call in (store.get, store.forget, lambda u, i: store.update(u, i, weight=2)):
            with pytest.raises(PreferenceNotFoundError) as caught:
                call("bob", id)
            messages.add(str(caught.value))
    assert len(messages) == 1
    assert store.list("alice") == [hers]


@pytest.mark.parametrize("pattern", ["*", "%", "_", "a%", "alic_", "alice ", "ALICE", "' OR 1=1 --", "alice\u200b"])
def test_a_pattern_as_user_is_just_a_name(store: PreferenceStore, pattern: str) -> None:
    store.add("alice", "I ski.")
    assert (store.count(pattern), store.search(pattern, "ski"), store.erase(pattern)) == (0, [], 0)
    store.add(pattern, "I sail.")
    assert (texts(store, pattern), texts(store, "alice")) == (["I sail."], ["I ski."])
    assert store.erase(pattern) == 1
    assert texts(store, "alice") == ["I ski."]


# Where it is


@pytest.mark.parametrize("arguments", [{}, {"path": "a", "url": "http://b"}, {"url": "http://b", "client": 1}])
def test_exactly_one_place_is_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="path, url and client"):
        PreferenceStore(**arguments)


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://h", "http://", "http://h:port", "http://h/path", "http://u:p@h"]
)
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"http://host:8000"):
        PreferenceStore(url=url)


@pytest.mark.parametrize("path", ["", " ", "ftp://x/prefs"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match="path to name a folder"):
        PreferenceStore(path)


def test_nothing_is_made_before_the_first_use(tmp_path: Path) -> None:
    store = PreferenceStore(tmp_path / "a" / "prefs")
    assert not (tmp_path / "a").exists()
    store.add("alice", "I ski.")
    assert (tmp_path / "a" / "prefs" / "chroma.sqlite3").exists()
    store.close()


def test_what_was_added_is_there_when_opened_again(tmp_path: Path) -> None:
    with PreferenceStore(str(tmp_path)) as store:
        added = store.add_many("alice", ["I ski.", "I sail."])
    with PreferenceStore(tmp_path) as store:
        assert store.list("alice") == added


def test_two_stores_on_one_folder_see_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with PreferenceStore("prefs") as one, PreferenceStore(tmp_path / "prefs") as two:
        assert two.list("alice") == []
        added = one.add("alice", "I ski.")
        assert two.list("alice") == [added]
        two.forget("alice", added.id)
        assert one.list("alice") == []
        one.close()
        assert two.add("alice", "I sail.") in two.list("alice")


def test_names_keep_stores_in_one_place_apart(tmp_path: Path) -> None:
    client = chromadb.PersistentClient(tmp_path, settings=chromadb.Settings(anonymized_telemetry=False))
    with PreferenceStore(client=client, name="one-store") as one, PreferenceStore(client=client) as two:
        one.add("alice", "I ski.")
        assert two.count("alice") == 0
    assert client.count_collections() == 2  # still open: it is not the store's to close


def test_a_closed_store_says_so(store: PreferenceStore) -> None:
    store.add("alice", "I ski.")
    store.close()
    store.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.list("alice")


def test_a_file_that_is_no_store_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "chroma.sqlite3").write_bytes(b"garbage" * 1_000)
    with pytest.raises(StoreUnavailableError, match="not a database"):
        PreferenceStore(tmp_path).count("alice")


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError):
        PreferenceStore(tmp_path / "file").add("alice", "I ski.")


def test_no_server_is_unavailable() -> None:
    with pytest.raises(StoreUnavailableError, match=r"127.0.0.1:9"):
        PreferenceStore(url="http://127.0.0.1:9").count("alice")


# Which embeddings


def fake(size: int) -> Embeddings:
    return DeterministicFakeEmbedding(size=size)


def test_another_embedding_model_is_refused(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path) as store:
        added = store.add("alice", "I ski.")
    with PreferenceStore(tmp_path, embeddings=fake(384)) as other:
        for call in (
            lambda: other.add("alice", "I sail."),
            lambda: other.list("alice"),
            lambda: other.erase("alice"),
        ):
            with pytest.raises(StoreMismatchError, match=r"all-MiniLM-L6-v2.*DeterministicFakeEmbedding"):
                call()
    with PreferenceStore(tmp_path) as store:
        assert store.list("alice") == [added]


def test_another_dimension_is_refused(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path, embeddings=fake(8)) as store:
        added = store.add("alice", "I ski.")
    with PreferenceStore(tmp_path, embeddings=fake(9)) as other:
        with pytest.raises(StoreMismatchError, match=r"8 numbers.*got 9"):
            other.add("alice", "I sail.")
        with pytest.raises(StoreMismatchError, match=r"8 numbers.*got 9"):
            other.search("alice", "sail")
        assert other.list("alice") == [added]


def test_a_name_given_stands_for_the_model(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path) as store:
        store.add("alice", "I ski.")
    name = BundledEmbeddings.name
    with PreferenceStore(tmp_path, embeddings=fake(384), embeddings_name=name) as same:
        assert same.count("alice") == 1


class Broken(Embeddings):
    def __init__(self, vectors: list[list[float]]) -> None:
        self.vectors = vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.vectors

    def embed_query(self, text: str) -> list[float]:
        return self.vectors[0]


@pytest.mark.parametrize("vectors", [[], [[1.0], [2.0]], [[float("nan")]], [[]], [1.0]])
def test_embeddings_that_are_none_are_refused(tmp_path: Path, vectors: list[list[float]]) -> None:
    with PreferenceStore(tmp_path, embeddings=Broken(vectors)) as store:
        with pytest.raises(ConfigurationError, match="Broken"):
            store.add("alice", "I ski.")
        assert store.count("alice") == 0


def test_a_collection_of_somebody_elses_is_refused(tmp_path: Path) -> None:
    client = chromadb.PersistentClient(tmp_path, settings=chromadb.Settings(anonymized_telemetry=False))
    client.create_collection("mine", embedding_function=None)
    with pytest.raises(StoreMismatchError, match=r"format"):
        PreferenceStore(client=client, name="mine").add("alice", "I ski.")
    assert client.get_collection("mine", embedding_function=None).count() == 0


# Async, threads, processes


def test_every_operation_has_an_async_twin_with_the_same_arguments() -> None:
    for name, _ in CALLS:
        twin = getattr(PreferenceStore, f"a{name.rstrip('_')}")
        assert inspect.iscoroutinefunction(twin)
        assert inspect.signature(twin) == inspect.signature(getattr(PreferenceStore, name))


async def test_async_twins_do_what_the_sync_ones_do(store: PreferenceStore, tmp_path: Path) -> None:
    added = await store.aadd("alice", "I ski.", weight=2)
    assert await store.aget("alice", added.id) == store.get("alice", added.id) == added
    await store.aadd_many("alice", ["I sail."])
    await store.aupdate("alice", added.id, text="I climb.")
    assert [p.text for p in await store.alist("alice")] == ["I climb.", "I sail."]
    assert await store.asearch("alice", "mountains") == store.search("alice", "mountains")
    assert await store.aretrieve("alice", "mountains") == store.retrieve("alice", "mountains")
    assert await store.aexport("alice", tmp_path / "a.jsonl") == await store.acount("alice") == 2
    await store.aforget("alice", added.id)
    assert await store.aerase("alice") == 2
    assert await store.aimport("alice", tmp_path / "a.jsonl") == 2


def test_threads_lose_nothing(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path, embeddings=fake(8)) as store:
        shared = store.add("alice", "shared")

        def work(thread: int) -> list[str]:
            added = [store.add("alice", f"{thread}-{n}").id for n in range(5)]
            store.update("alice", shared.id, metadata={"by": thread})
            store.forget("alice", added.pop())
            return added

        with ThreadPoolExecutor(8) as pool:
            kept = {id for ids in pool.map(work, range(8)) for id in ids} | {shared.id}
        assert {p.id for p in store.list("alice")} == kept


def test_a_process_that_only_keeps_preferences_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, la_agents; from la_agents.preferences.store import PreferenceStore\n"
        "with PreferenceStore(sys.argv[1]) as store:\n"
        "    store.add('alice', 'I ski.'); assert store.search('alice', 'ski')\n"
        "sys.exit(' '.join({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_errors_are_all_of_one_family(store: PreferenceStore) -> None:
    with pytest.raises(LaAgentsError):
        store.get("alice", "nope")
