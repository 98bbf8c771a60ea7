"""The user id as a value, and the order in which a call's places are asked for it."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.runnables import RunnableLambda

from la_agents.errors import UserNotSpecifiedError
from la_agents.users import as_user_id, find_user, resolve_user


@pytest.mark.parametrize("name", ["alice", "*", "%", "a@b.org", "../x", "'; DROP TABLE users; --", "👩‍🚀", " a "])
def test_any_name_is_kept_as_it_is(name: str) -> None:
    assert as_user_id(name) == name


def test_int_and_uuid_are_taken_as_their_text() -> None:
    uuid = UUID("12345678-1234-5678-1234-567812345678")
    assert as_user_id(7) == "7"
    assert as_user_id(0) == "0"
    assert as_user_id(uuid) == str(uuid)


@pytest.mark.parametrize(
    "value",
    [None, "", "  ", "\t", True, 1.5, b"alice", ["alice"], "a\x00b", "a\nb", "\x7f", "\ud800", "x" * 257],
)
def test_what_names_nobody_is_refused(value: object) -> None:
    with pytest.raises(UserNotSpecifiedError):
        as_user_id(value)


def test_the_longest_name_is_accepted() -> None:
    assert as_user_id("é" * 256) == "é" * 256


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=256).filter(str.strip))
def test_distinct_names_stay_distinct(name: str) -> None:
    assert as_user_id(name) == name


def config(user: object) -> dict[str, dict[str, object]]:
    return {"configurable": {"user_id": user}}


def test_call_goes_before_config_and_config_before_constructor() -> None:
    assert resolve_user("call", config("config"), "constructor") == "call"
    assert resolve_user(None, config("config"), "constructor") == "config"
    assert resolve_user(None, config(None), "constructor") == "constructor"
    assert resolve_user(None, None, 7) == "7"


def test_a_blank_user_does_not_fall_through_to_the_next_place() -> None:
    for call, where in ((" ", config("config")), (None, config(""))):
        with pytest.raises(UserNotSpecifiedError, match="blank"):
            resolve_user(call, where, "constructor")


def test_nobody_named() -> None:
    assert find_user(None, {"configurable": {}}, None) is None
    with pytest.raises(UserNotSpecifiedError, match="configurable"):
        resolve_user()


def test_the_surrounding_config_is_seen() -> None:
    chain = RunnableLambda(lambda _: resolve_user())
    assert chain.invoke(0, config("alice")) == "alice"
    assert chain.batch([0, 0], [config("alice"), config("bob")]) == ["alice", "bob"]


# -- the context of a LangGraph run (real runs: integrations/langgraph) ------------------------------------------------


def in_run(context: object, user: object = None) -> dict[str, dict[str, object]]:
    runtime = SimpleNamespace(context=context)
    return {"configurable": {"__pregel_runtime": runtime, **({} if user is None else {"user_id": user})}}


@pytest.mark.parametrize("context", [{"user_id": 7}, SimpleNamespace(user_id="7")])
def test_the_context_of_a_run_names_a_user(context: object) -> None:
    assert resolve_user(None, in_run(context), "constructor") == "7"
    assert resolve_user(None, in_run(context, "7"), "constructor") == "7"
    assert resolve_user("call", in_run(context), "constructor") == "call"


@pytest.mark.parametrize("context", [None, {}, {"user_id": None}, SimpleNamespace(tenant="x"), "alice"])
def test_a_context_without_a_user_names_nobody(context: object) -> None:
    assert find_user(None, in_run(context)) is None
    assert find_user(None, in_run(context, "alice")) == "alice"


@pytest.mark.parametrize(("context", "user"), [("bob", "alice"), (" ", "alice"), ("bob", ""), (" ", None)])
def test_a_context_against_the_config_is_refused(context: str, user: str | None) -> None:
    with pytest.raises(UserNotSpecifiedError) as error:
        find_user(None, in_run({"user_id": context}, user), "constructor")
    assert "bob" not in str(error.value)
