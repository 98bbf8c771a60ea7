"""The limits of a preference, as values."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from la_agents.errors import InvalidPreferenceError
from la_agents.preferences.preference import Preference, PreferenceDraft, as_draft, utc_now, validated

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def preference(**changes: Any) -> Preference:
    values = {
        "id": "1",
        "user_id": "alice",
        "text": "Be brief.",
        "created_at": NOW,
        "updated_at": NOW,
        **changes,
    }
    return validated(Preference, values)


def test_defaults_are_the_documented_ones() -> None:
    draft = as_draft("  I am vegetarian.\n")
    assert draft == PreferenceDraft(
        text="I am vegetarian.", scope="relevant", weight=1.0, expires_at=None, source="explicit", metadata={}
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("text", "", "blank"),
        ("text", " \n", "blank"),
        ("text", "\u200b", "blank"),
        ("text", "\ufeff \u2060\u200d", "blank"),
        ("text", "\x00\x07", "blank"),
        ("text", "x" * 2_001, "2000 characters, got 2001"),
        ("text", "a\ud800", "surrogate"),
        ("text", 7, "text"),
        ("weight", -0.1, "weight.*-0.1"),
        ("weight", float("nan"), "nan"),
        ("weight", float("inf"), "inf"),
        ("weight", "heavy", "weight"),
        ("scope", "sometimes", "scope"),
        ("source", "guessed", "source"),
        ("expires_at", datetime(2026, 1, 1), "timezone"),
        ("metadata", {"when": NOW}, "metadata"),
        ("metadata", {"x": float("nan")}, "metadata"),
        ("metadata", {"x": "\ud800"}, "metadata"),
        ("colour", "red", "colour"),
    ],
)
def test_what_is_out_of_its_limits_is_refused_by_name(field: str, value: object, message: str) -> None:
    with pytest.raises(InvalidPreferenceError, match=message):
        as_draft({"text": "Be brief.", field: value})


def test_the_longest_text_and_the_least_weight_are_accepted() -> None:
    draft = as_draft({"text": "é" * 2_000, "weight": 0})
    assert (len(draft.text), draft.weight) == (2_000, 0.0)


@pytest.mark.parametrize("item", [None, 7, ["Be brief."]])
def test_what_is_no_preference_at_all_is_refused(item: Any) -> None:
    with pytest.raises(InvalidPreferenceError, match=type(item).__name__):
        as_draft(item)


def test_a_preference_is_a_value() -> None:
    assert preference() == preference()
    with pytest.raises(ValidationError, match="frozen"):
        preference().text = "Be long."  # type: ignore[misc]


def test_it_is_active_until_it_expires() -> None:
    expiring = preference(expires_at=NOW)
    assert expiring.is_active(NOW - timedelta(microseconds=1))
    assert not expiring.is_active(NOW)
    assert not expiring.is_active()
    assert preference(expires_at=utc_now() + timedelta(hours=1)).is_active()
    assert preference().is_active()


def test_the_package_knows_its_names_and_no_others() -> None:
    import la_agents.preferences as package

    assert dir(package) == sorted(package.__all__)
    for name in package.__all__:
        value = getattr(package, name)
        assert getattr(value, "__name__", name) == name or not isinstance(value, type)
    with pytest.raises(AttributeError, match="nothing"):
        _ = package.nothing
