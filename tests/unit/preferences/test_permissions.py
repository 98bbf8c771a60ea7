"""What is written of users is for the eyes of the account that runs the service."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from la_agents import PreferenceStore

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_store_is_its_owners_alone(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path / "deep" / "prefs") as store:
        store.add("alice", "I am vegetarian.")
    assert mode(tmp_path / "deep" / "prefs") == 0o700


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "prefs").mkdir(mode=0o750)
    with PreferenceStore(tmp_path / "prefs") as store:
        store.add("alice", "I am vegetarian.")
    assert mode(tmp_path / "prefs") == 0o750


def test_an_export_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_text("")
    with PreferenceStore(tmp_path / "prefs") as store:
        store.add("alice", "I am vegetarian.")
        for name in ("new.jsonl", "old.jsonl"):
            store.export("alice", tmp_path / name)
            assert mode(tmp_path / name) == 0o600
            assert "vegetarian" in (tmp_path / name).read_text()
