"""Export and import: whatever goes out comes in again, and nothing of a bad file does."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from la_agents.errors import InvalidPreferenceError
from la_agents.preferences.store import PreferenceStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path / "prefs") as store:
        yield store


def fill(store: PreferenceStore) -> None:
    store.add("alice", "Zeile 1\nZeile 2 – 🦜", scope="always", weight=0.25, metadata={"a": [1, None, "ü"]})
    store.add("alice", "Old.", expires_at=datetime(2020, 1, 1, tzinfo=timezone.utc))


def test_an_export_comes_back_as_it_was(store: PreferenceStore, tmp_path: Path) -> None:
    fill(store)
    before = store.list("alice")
    assert store.export("alice", tmp_path / "alice.jsonl") == 2
    assert store.erase("alice") == 2
    assert store.import_("alice", tmp_path / "alice.jsonl") == 2
    assert store.list("alice") == before
    assert store.erase("alice") == 2  # the expired one as well


def test_importing_again_changes_nothing(store: PreferenceStore, tmp_path: Path) -> None:
    fill(store)
    store.export("alice", str(tmp_path / "alice.jsonl"))
    before = store.list("alice")
    store.import_("alice", str(tmp_path / "alice.jsonl"))
    assert store.list("alice") == before
    assert store.erase("alice") == 2


def test_the_file_names_no_user_and_another_may_import_it(store: PreferenceStore) -> None:
    fill(store)
    file = io.StringIO()
    store.export("alice", file)
    assert "alice" not in file.getvalue()
    hers = store.list("alice")
    file.seek(0)
    store.import_("bob", file)
    assert [p.model_copy(update={"user_id": "alice"}) for p in store.list("bob")] == hers
    store.update("bob", hers[0].id, text="His own.")
    store.erase("bob")
    assert store.list("alice") == hers


def test_lines_written_by_hand_are_enough(store: PreferenceStore) -> None:
    lines = '\ufeff{"text": "I ski."}\n\n{"text": "I sail.", "scope": "always", "source": "explicit"}\n'
    for _ in range(2):
        assert store.import_("alice", io.StringIO(lines.removeprefix("\ufeff"))) == 2
    assert sorted((p.text, p.scope, p.source) for p in store.list("alice")) == [
        ("I sail.", "always", "explicit"),
        ("I ski.", "relevant", "imported"),
    ]


def test_a_changed_line_updates(store: PreferenceStore, tmp_path: Path) -> None:
    added = store.add("alice", "I ski.")
    store.export("alice", tmp_path / "a.jsonl")
    store.update("alice", added.id, text="I sail.")
    store.import_("alice", tmp_path / "a.jsonl")
    assert [p.text for p in store.list("alice")] == ["I ski."]


GOOD = json.dumps({"id": "a", "text": "I ski."}).encode()


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"\xff",
        b'{"text": ""}',
        b'{"text": "a", "weight": -1}',
        b'{"text": "a", "weight": NaN}',
        b'{"text": "a", "colour": "red"}',
        b'{"text": "a", "user_id": "bob"}',
        b'{"text": "a", "version": 2}',
        b'{"text": "a", "id": "../x"}',
        b'{"text": "a", "id": ""}',
        b'{"text": "a", "created_at": "yesterday"}',
        b'{"text": "another", "id": "a"}',
        b"{}",
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(store: PreferenceStore, tmp_path: Path, bad: bytes) -> None:
    (tmp_path / "bad.jsonl").write_bytes(GOOD + b"\n\n" + bad + b"\n")
    with pytest.raises(InvalidPreferenceError, match="line 3"):
        store.import_("alice", tmp_path / "bad.jsonl")
    assert store.count("alice") == 0


def test_an_interrupted_export_leaves_the_old_file(store: PreferenceStore, tmp_path: Path) -> None:
    target = tmp_path / "a.jsonl"
    target.write_text("old")
    store.close()
    with pytest.raises(Exception, match="closed"):
        store.export("alice", target)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.jsonl"]
