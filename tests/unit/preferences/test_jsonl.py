"""Export and import: whatever goes out comes in again, and nothing of a bad file does."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from la_agents.errors import ConfigurationError, InvalidPreferenceError
from la_agents.preferences.limits import Limits
from la_agents.preferences.preference import utc_now
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


def test_bad_lines_can_be_skipped_and_are_named(store: PreferenceStore, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "I ski."}\n{\n{"text": ""}\n{"text": "I sail."}\n')
    messages: list[str] = []
    assert store.import_("alice", path, on_bad=messages.append) == 2
    assert [message.partition(":")[0] for message in messages] == ["line 2", "line 3"]
    assert {p.text for p in store.list("alice")} == {"I ski.", "I sail."}


def test_thousands_of_lines_come_and_go_in_pages(tmp_path: Path) -> None:
    lines = [json.dumps({"id": f"{n}", "text": f"Thing {n}"}) for n in range(2_500)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with PreferenceStore(tmp_path / "p", embeddings=DeterministicFakeEmbedding(size=4)) as store:
        seen: list[tuple[int, int]] = []
        for _ in range(2):
            assert store.import_("alice", tmp_path / "a.jsonl", progress=lambda *now: seen.append(now)) == 2_500
        assert seen == [(1_000, 2_500), (2_000, 2_500), (2_500, 2_500)] * 2
        assert store.count("alice") == store.export("alice", tmp_path / "b.jsonl") == 2_500
        assert len(set((tmp_path / "b.jsonl").read_text().splitlines())) == 2_500


def test_an_import_beyond_the_limits_writes_nothing(tmp_path: Path) -> None:
    limits = Limits(max_records=2, max_weight=2)
    with PreferenceStore(tmp_path, limits=limits) as store:
        for lines in ('{"text": "a"}\n{"text": "b"}\n{"text": "c"}', '{"text": "a"}\n{"text": "b", "weight": 3}'):
            with pytest.raises(InvalidPreferenceError, match="at most 2"):
                store.import_("alice", io.StringIO(lines))
        with pytest.raises(InvalidPreferenceError, match="locked"):
            store.import_("alice", io.StringIO('{"text": "a", "locked": true}'))
        assert store.count("alice") == 0


MEM0 = {
    "id": "892db2ae-06d9-49e5-8b3e-585ef9b85b8e",
    "memory": "Prefers morning meetings",
    "user_id": "arjun",
    "hash": "9dcbb38b",
    "metadata": {"type": "preference"},
    "categories": ["work"],
    "created_at": "2025-02-03T06:31:12.345678-08:00",
    "updated_at": None,
}
LANGMEM = {
    "namespace": ["memories", "arjun"],
    "key": "a89f5f5e-7b4d-4c6a-a0c3-3a2b9d1c4e5f",
    "value": {"kind": "Memory", "content": {"content": "Prefers morning meetings"}},
    "created_at": "2025-02-03T14:31:12.345678+00:00",
    "updated_at": "2025-02-04T14:31:12+00:00",
    "score": None,
}


@pytest.mark.parametrize("shape", ["array", "results", "lines"])
@pytest.mark.parametrize(("kind", "record"), [("mem0", MEM0), ("langmem", LANGMEM)])
def test_other_libraries_exports(store: PreferenceStore, tmp_path: Path, kind: str, record: object, shape: str) -> None:
    another = {"memory": "Likes tea", "key": "no id of ours!", "value": {"content": "Likes tea"}}
    written = {
        "array": json.dumps([record, another], indent=1),
        "results": json.dumps({"results": [record, another]}),
        "lines": f"{json.dumps(record)}\n{json.dumps(another)}\n",
    }
    (tmp_path / "a.json").write_text(written[shape])
    for _ in range(2):
        assert store.import_("alice", tmp_path / "a.json", source_format=kind) == 2  # type: ignore[arg-type]
    first, second = store.list("alice")
    assert (first.text, second.text) == ("Prefers morning meetings", "Likes tea")
    assert (first.source, first.user_id, first.created_at.year) == ("imported", "alice", 2025)
    assert first.id in (MEM0["id"], LANGMEM["key"])


@pytest.mark.parametrize("kind", ["mem0", "langmem"])
def test_a_foreign_record_without_text_is_named(store: PreferenceStore, kind: str) -> None:
    with pytest.raises(InvalidPreferenceError, match=r"record 1: .*Expected the text"):
        store.import_("alice", io.StringIO('[{"id": "1"}]'), source_format=kind)  # type: ignore[arg-type]


def peak_of_an_import(folder: Path, num_lines: int) -> int:
    """Most bytes that Python held at once while a file was imported, twice: the second time all is known."""
    file = folder / f"{num_lines}.jsonl"
    with file.open("w") as out:
        for n in range(num_lines):
            out.write(json.dumps({"id": f"{n}", "text": f"Thing number {n} of {'many ' * 20}"}) + "\n")
    limits = Limits(max_records=100_000, max_total_weight=100_000)
    with PreferenceStore(folder / "p", embeddings=DeterministicFakeEmbedding(size=4), limits=limits) as store:
        store.import_("alice", io.StringIO('{"text": "warm"}'))
        tracemalloc.start()
        try:
            for user in ("alice", "alice"):
                assert store.import_(user, file) == num_lines
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    for name in ("small", "large"):
        (tmp_path / name).mkdir()
    small = peak_of_an_import(tmp_path / "small", 2_400)  # more than one page of the longest kind
    assert peak_of_an_import(tmp_path / "large", 4_800) < 1.3 * small


def test_an_id_that_comes_again_far_below_is_still_known(tmp_path: Path) -> None:
    lines = [json.dumps({"id": f"{n}", "text": f"Thing {n}"}) for n in range(1_500)]
    with PreferenceStore(tmp_path, embeddings=DeterministicFakeEmbedding(size=4)) as store:
        assert store.import_("alice", io.StringIO("\n".join([*lines, lines[0]]))) == 1_500
        again = json.dumps({"id": "0", "text": "Another thing"})
        with pytest.raises(InvalidPreferenceError, match="line 1501"):
            store.import_("bob", io.StringIO("\n".join([*lines, again])))
        assert store.count("bob") == 0


def test_an_older_export_can_be_taken_back(store: PreferenceStore, tmp_path: Path) -> None:
    """What an import replaces is in the history, like any other change."""
    love = store.add("alice", "I love Chinese food.")
    tea = store.add("alice", "I drink tea.")
    store.export("alice", tmp_path / "old.jsonl")
    hate = store.add("alice", "I hate Chinese food.")
    store.forget("alice", tea.id)
    store.import_("alice", tmp_path / "old.jsonl")
    assert {each.id for each in store.list("alice")} == {love.id, tea.id, hate.id}
    assert [change.kind for change in store.history("alice", love.id)] == ["added", "superseded", "imported"]
    store.import_("alice", tmp_path / "old.jsonl")
    assert len(store.history("alice", love.id)) == 3
    store.undo("alice", love.id)
    store.undo("alice", tea.id)
    assert store.list("alice") == [hate]
    assert store.get("alice", love.id).superseded_by == hate.id
    assert store.get("alice", tea.id).state == "forgotten"


@pytest.mark.parametrize(
    ("source_format", "records"),
    [
        ("mem0", [{"memory": "I ski.", "user_id": "a"}, {"memory": "I sail.", "user_id": "b"}]),
        (
            "langmem",
            [
                {"key": "1", "namespace": ["m", "a"], "value": {"content": "I ski."}},
                {"key": "2", "namespace": ["m", "b"], "value": {"content": "I sail."}},
            ],
        ),
    ],
)
def test_memories_of_several_users_are_not_mixed(store: PreferenceStore, source_format: Any, records: Any) -> None:
    for text in (json.dumps(records), "\n".join(map(json.dumps, records))):
        with pytest.raises(InvalidPreferenceError, match="2: Expected the memories of one user"):
            store.import_("alice", io.StringIO(text), source_format=source_format)
        assert store.count("alice") == 0
    bad: list[str] = []
    assert store.import_("alice", io.StringIO(text), source_format=source_format, on_bad=bad.append) == 1
    assert (len(bad), [each.text for each in store.list("alice")]) == (1, ["I ski."])


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ({"user_id": "victim"}, "history: Expected changes of anything but created_at, id, user_id"),
        ({"user_id": "\x1flayer\x1facme"}, "history: Expected changes of anything but created_at, id, user_id"),
        ({"id": "other"}, "history: Expected changes of anything but created_at, id, user_id"),
        ({"weight": 500}, "weight: Expected at most 10"),
        ({"locked": True}, "locked: Expected only preferences of a shared layer"),
        ({"text": ""}, "history: text: Expected text, got blank text"),
        ({"taste": "none"}, "history: taste: Expected one of the fields"),
    ],
)
def test_a_history_says_only_what_may_have_been(store: PreferenceStore, before: dict[str, Any], message: str) -> None:
    at = "2020-01-01T00:00:00Z"
    history = [{"at": at, "kind": "added"}, {"at": at, "kind": "updated", "before": before}]
    line = json.dumps({"id": "u1", "text": "I ski.", "created_at": at, "updated_at": at, "history": history})
    with pytest.raises(InvalidPreferenceError, match=f"line 1: {message}"):
        store.import_("mallory", io.StringIO(line))
    assert store.archive("mallory") == store.list("mallory") == []


def test_an_import_is_dated_when_it_was_made(store: PreferenceStore) -> None:
    tea = store.add("alice", "I like tea.")
    older = io.StringIO()
    store.export("alice", older)
    store.update("alice", tea.id, text="I like coffee.")
    between = utc_now()
    older.seek(0)
    assert store.import_("alice", older) == 1
    assert [change.kind for change in store.history("alice", tea.id)] == ["added", "updated", "imported"]
    assert [p.text for p in store.list("alice", as_of=between)] == ["I like coffee."]
    assert [p.text for p in store.list("alice")] == ["I like tea."]


def test_what_may_not_be_stored_is_a_bad_line_with_its_number(store: PreferenceStore) -> None:
    lines = '{"text": "I ski."}\n{"text": "w", "weight": 50}\n{"text": "l", "locked": true}\n' + "[" * 100_000 + "\n"
    with pytest.raises(InvalidPreferenceError, match=r"line 2: weight: Expected at most 10, got 50"):
        store.import_("alice", io.StringIO(lines))
    bad: list[str] = []
    assert store.import_("alice", io.StringIO(lines), on_bad=bad.append) == 1
    assert [message.split(":")[0] for message in bad] == ["line 2", "line 3", "line 4"]
    with pytest.raises(InvalidPreferenceError, match="record 1: metadata: Expected an object, got str"):
        store.import_("alice", io.StringIO('[{"memory": "m", "metadata": "s"}]'), source_format="mem0")
    with pytest.raises(ConfigurationError, match="la-agents, mem0, langmem"):
        store.import_("alice", io.StringIO(lines), source_format="zep")  # type: ignore[arg-type]


def test_mem0_lines_are_read_one_at_a_time(store: PreferenceStore) -> None:
    lines = "".join(json.dumps({"memory": f"thing {n}", "user_id": "a"}) + "\n" for n in range(3))
    assert store.import_("alice", io.StringIO(lines), source_format="mem0") == 3
    whole = json.dumps({"memories": [{"memory": "I ski."}]}, indent=1)
    assert store.import_("bob", io.StringIO(whole), source_format="mem0") == 1


def test_an_export_tells_its_progress(store: PreferenceStore) -> None:
    store.add_many("alice", [f"thing {n}" for n in range(150)], consolidate=False)
    told: list[tuple[int, int]] = []
    assert store.export("alice", io.StringIO(), progress=lambda *both: told.append(both)) == 150
    assert told == [(100, 150), (150, 150)]
