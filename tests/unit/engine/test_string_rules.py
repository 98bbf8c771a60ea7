"""The shortest completion of a string or a text under regular expressions, against Python's `re`."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from la_agents.engine.string_rules import Cursor, StringRule, StringRules
from la_agents.structure.schema.formats import FORMATS


def rest_of(patterns: list[str], written: str, least: int = 0) -> str | None:
    """What completes a JSON string, without its closing quote."""
    inside = json.dumps(written, ensure_ascii=False)[1:-1].encode()
    found = StringRule(patterns, least).completion(inside)
    if found is None:
        return None
    whole: str = json.loads(b'"' + inside + found)
    assert whole.startswith(written)
    return whole[len(written) :]


@pytest.mark.parametrize(
    ("pattern", "written", "rest"),
    [
        (r"\.pdf$", "", ".pdf"),
        (r"\.pdf$", "x.p", "df"),
        (r"\.pdf$", "x.pdfs", ".pdf"),
        ("[0-9]", "abc", "0"),
        ("[0-9]", "a1c", ""),
        ("^[^@]+@[^@]+$", "ab@", "a"),
        ("^(a|b)*c{3}$", "abc", "cc"),
        ("^[a-z]{5,}$", "é", None),
        ("^a$|^bb$", "b", "b"),
        ("^(?:x(?P<n>y)?){2}$", "x", "x"),
        ("^(foo|bar)+?$", "foob", "ar"),
        (r"^\d{2}-\w\x41é$", "1", "0-aAé"),
        ("^[]a]+[^]]$", "]", "a"),
        ("^$", "a", None),
        ("^.{3}$", "a\n", None),
    ],
)
def test_the_rest_is_the_shortest(pattern: str, written: str, rest: str | None) -> None:
    found = rest_of([pattern], written)
    assert (found is None) == (rest is None)
    if found is not None and rest is not None:
        assert len(found) == len(rest)
        assert re.search(pattern, written + found)


@pytest.mark.parametrize("pattern", [way for ways in FORMATS.values() for way in ways])
def test_every_format_can_be_completed_from_any_of_its_beginnings(pattern: str) -> None:
    whole = rest_of([pattern], "")
    assert whole is not None
    for length in range(len(whole) + 1):
        rest = rest_of([pattern], whole[:length])
        assert rest is not None
        assert re.search(pattern, whole[:length] + rest)
        assert length + len(rest) == len(whole)


def test_several_patterns_and_a_length_at_once() -> None:
    patterns = ["[A-Z]", r"\d", "^[A-Za-z0-9]*$"]
    found = rest_of(patterns, "ab", least=8)
    assert found is not None
    assert len(found) == 6
    assert all(re.search(pattern, "ab" + found) for pattern in patterns)
    assert rest_of(["^[a-c]+$", "d"], "") is None
    assert rest_of([], "ab", least=3) is not None
    assert len(rest_of([], "", least=300) or "") == 300


def test_a_whole_text_is_told_from_a_part() -> None:
    assert StringRule(["ab"], whole=True).completion(b"a") == b"b"
    assert StringRule(["ab"], whole=True).completion(b"xa") is None


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "(", "*", "[a", "a{9999999}"])
def test_what_cannot_be_read_has_no_completion(pattern: str) -> None:
    assert rest_of([pattern], "") is None


@pytest.mark.parametrize(
    ("pattern", "written", "rest"),
    [(r"^\p{L}{2}$", "é", "a"), ("^[a-z&&[^a]]$", "", "b"), ("(?i)^AB$", "a", "b"), ('^\\\\"\n$', "", '\\"\n')],
)
def test_what_python_does_not_read_is_completed_too(pattern: str, written: str, rest: str) -> None:
    assert (rest_of([pattern], written) or "").lower() == rest


@pytest.mark.parametrize("written", [b"\\", b"\\u00", "é".encode()[:1]])
def test_the_middle_of_a_character_is_completed_later(written: bytes) -> None:
    rules = StringRules('start: %json {"type": "string", "pattern": "^.{3}$"}')
    assert rules.completions(Cursor(written)) == []
    assert rules.completions(Cursor(b"ab")) == ['a"']


_PIECES = st.sampled_from(["a", "b", "[ab]", "[^a]", "(?:ab|b)", "(a|bb)", ".", r"\d", "(?:x{2})"])
_REPEATED = st.builds(lambda piece, how: piece + how, _PIECES, st.sampled_from(["", "*", "+", "?", "{0,2}", "{2,}"]))


@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(_REPEATED, min_size=1, max_size=5), written=st.text("abx1", max_size=5))
def test_completions_match_and_no_shorter_one_does(pieces: list[str], written: str) -> None:
    pattern = f"^{''.join(pieces)}$"
    found = rest_of([pattern], written)
    if found is not None:
        assert re.search(pattern, written + found)
    shorter = [""] + [c for c in "abx10" if found is None or len(found) > 1]
    assert not any(re.fullmatch(pattern, written + rest) for rest in shorter if found is None or len(rest) < len(found))
