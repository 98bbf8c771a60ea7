"""The preferences as text of a system prompt."""

from __future__ import annotations

from pathlib import Path

import pytest

from la_agents import PreferenceStore, preferences_prompt
from la_agents.errors import UserNotSpecifiedError


def test_it_has_a_line_for_each_preference_that_matters(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path) as store:
        store.add("alice", "Answer\nin   French.", scope="always")
        store.add("alice", "I love hiking in the mountains.")
        store.add("bob", "Answer in Greek.", scope="always")
        question = "Where can I hike in the mountains?"
        heading, *lines = preferences_prompt(store, "alice", question).splitlines()
        assert heading.startswith("The user's preferences.")
        assert lines == ["- Answer in French.", "- I love hiking in the mountains."]
        assert preferences_prompt(store, "alice", question, k=0).splitlines()[1:] == lines[:1]


def test_without_any_it_is_empty_and_without_a_user_refused(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path) as store:
        assert preferences_prompt(store, "alice", "Hello") == ""
        with pytest.raises(UserNotSpecifiedError):
            preferences_prompt(store, None, "Hello")
