"""What may matter to a whole field of questions is told; what is about one thing, or about others, is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from la_agents.preferences.store import PreferenceStore
from la_agents.preferences.suggestion import suggested_scope


@pytest.mark.parametrize(
    "text",
    [
        "I'm vegetarian.",
        "We keep kosher.",
        "I have a peanut allergy.",
        "I am lactose intolerant.",
        "I don't eat pork.",
        "I cannot drive.",
        "My budget is 500 euros.",
        "I use a wheelchair.",
        "Always answer in French.",
        "Please keep it short.",
        "Never use emojis.",
        "Call me Sam.",
    ],
)
def test_what_matters_to_a_field_is_suggested_for_every_call(text: str) -> None:
    assert suggested_scope(text) == "always"


@pytest.mark.parametrize(
    "text",
    ["I love jazz.", "My sister is vegan.", "I read crime novels.", "My dog has diabetes.", "I run every morning."],
)
def test_what_is_about_one_thing_or_others_is_not(text: str) -> None:
    assert suggested_scope(text) == "relevant"


def test_what_add_returns_suggests_and_changes_nothing(tmp_path: Path) -> None:
    with PreferenceStore(tmp_path) as store:
        added = store.add("alice", "I'm vegetarian.")
        assert (added.scope, added.suggested_scope) == ("relevant", "always")
        assert store.retrieve("alice", "Which restaurant should I try?") == []
        store.update("alice", added.id, scope=added.suggested_scope)
        assert len(store.retrieve("alice", "Which restaurant should I try?")) == 1
