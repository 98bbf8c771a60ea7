"""The same store against a real Chroma server on loopback."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import chromadb
import pytest
from chromadb.api import ClientAPI

from la_agents.errors import StoreUnavailableError
from la_agents.preferences.store import PreferenceStore
from tests.unit.preferences.store_tools import cut_off_between_switch_and_drop


def test_the_main_operations(url: str, tmp_path: Path) -> None:
    with PreferenceStore(url=url) as store:
        always = store.add("alice", "Always answer in French.", scope="always")
        vegetarian, brief = store.add_many("alice", ["I am vegetarian.", "I love science fiction."])
        store.add("bob", "I eat everything.")
        found = store.retrieve("alice", "What should I cook tonight?")
        assert [scored.preference for scored in found] == [always, vegetarian]
        changed = store.update("alice", brief.id, text="I love crime novels.")
        assert store.forget("alice", always.id) == always
        assert store.export("alice", tmp_path / "alice.jsonl") == 3
    with PreferenceStore(url=url) as store:
        assert store.list("alice") == [vegetarian, changed]
        assert store.erase("alice") == 3
        assert store.import_("alice", tmp_path / "alice.jsonl") == 3
        assert (store.count("alice"), store.count("bob")) == (2, 1)


def test_two_processes_worth_of_clients_see_each_other(url: str) -> None:
    with PreferenceStore(url=url, name="shared-store") as one, PreferenceStore(url=url, name="shared-store") as two:
        assert two.count("alice") == 0
        added = one.add("alice", "I ski.")
        assert two.list("alice") == [added]


def test_a_database_that_is_gone_is_unavailable_until_it_is_back(url: str) -> None:
    def delete(client: ClientAPI) -> None:
        for collection in client.list_collections():
            if collection.name.startswith("short-lived"):
                client.delete_collection(collection.name)

    host, port = url.removeprefix("http://").split(":")
    client = chromadb.HttpClient(host, int(port))
    with PreferenceStore(url=url, name="short-lived") as store:
        store.add("alice", "I ski.")
        delete(client)
        for _ in range(2):
            for call in (store.list, store.count, store.erase, store.archive):
                with pytest.raises(StoreUnavailableError, match="deleted"):
                    call("alice")
            with pytest.raises(StoreUnavailableError, match="deleted"):
                store.list("carol")
            with pytest.raises(StoreUnavailableError, match="deleted"):
                store.verify()
            with pytest.raises(StoreUnavailableError, match="deleted"):
                store.add("alice", "I sail.")
        with PreferenceStore(url=url, name="short-lived") as again:
            restored = again.add("alice", "I climb.")
        assert store.list("alice") == [restored]
        assert store.add("alice", "I sail.") in store.list("alice")


def test_a_migration_that_is_killed_before_the_old_shards_go_loses_nothing(url: str) -> None:
    with PreferenceStore(url=url, name="killed") as before, PreferenceStore(url=url, name="killed") as migrating:
        before.add("alice", "I ski.")
        before.add("bob", "I ski.")
        cut_off_between_switch_and_drop(migrating)
        sails = before.add("alice", "I sail.")
        assert before.erase("bob") == 1
        with PreferenceStore(url=url, name="killed") as fresh:
            assert (fresh.count("alice"), fresh.count("bob")) == (2, 0)
            assert fresh.migrate() == 2
        assert sails in before.list("alice")


class NotChroma(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_another_server_is_unavailable() -> None:
    server = HTTPServer(("127.0.0.1", 0), NotChroma)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(StoreUnavailableError, match="404"):
            PreferenceStore(url=f"http://127.0.0.1:{server.server_port}").count("alice")
    finally:
        server.shutdown()
        server.server_close()
