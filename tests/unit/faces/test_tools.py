"""The preference tools as a model sees them: whose they act for, what they answer, and what they make of nonsense."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from la_agents.errors import StoreUnavailableError, UserNotSpecifiedError
from la_agents.preferences.store import PreferenceStore
from la_agents.tools import preference_tools, review_tools

ALICE = {"configurable": {"user_id": "alice"}}
BOB = {"configurable": {"user_id": "bob"}}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore(tmp_path) as store:
        yield store


def named(store: PreferenceStore, **options: Any) -> dict[str, BaseTool]:
    return {tool.name: tool for tool in [*preference_tools(store, **options), *review_tools(store)]}


def call(tool: BaseTool, config: Any = ALICE, /, **args: Any) -> ToolMessage:
    message = tool.invoke({"name": tool.name, "args": args, "id": "1", "type": "tool_call"}, config)
    assert isinstance(message, ToolMessage)
    return message


def test_no_schema_lets_the_model_choose_the_user(store: PreferenceStore) -> None:
    for tool in named(store).values():
        schema = convert_to_openai_tool(tool)["function"]
        assert not {"user_id", "config", "store"} & set(schema["parameters"]["properties"])
        assert schema["description"]
        assert all(field["description"] for field in schema["parameters"]["properties"].values())


def test_a_user_that_the_model_makes_up_is_not_heard(store: PreferenceStore) -> None:
    store.add("bob", "I love hiking.")
    tools = named(store)
    for forged in ({"user_id": "bob"}, {"config": BOB}, {"user_id": "bob", "config": BOB}):
        assert "hiking" not in str(call(tools["recall_preferences"], **forged).content)
        call(tools["remember_preference"], text="No nuts.", **forged)
    assert [p.text for p in store.list("bob")] == ["I love hiking."]
    assert [p.text for p in store.list("alice")] == ["No nuts."]


def test_the_whole_life_of_a_preference(store: PreferenceStore) -> None:
    tools = named(store)
    assert str(call(tools["remember_preference"], text="No nuts.", scope="always").content).startswith("Remembered [")
    (preference,) = store.list("alice")
    assert (preference.scope, preference.source) == ("always", "inferred")
    assert str(call(tools["remember_preference"], text="no nuts").content).startswith("Known already")
    assert call(tools["recall_preferences"]).content == f"[{preference.id}] (always) No nuts."
    assert "No nuts." in str(call(tools["recall_preferences"], query="What can I eat?").content)
    call(tools["update_preference"], preference=preference.id, text="No peanuts.")
    assert [p.text for p in store.list("alice")] == ["No peanuts."]
    assert "Forgot" in str(call(tools["forget_preference"], preference="no peanuts").content)
    assert store.list("alice") == []


def test_an_agent_rewords_nothing_that_the_user_has_said_and_what_it_forgets_comes_back(store: PreferenceStore) -> None:
    tools = named(store)
    nuts = store.add("alice", "I'm allergic to nuts.")
    call(tools["remember_preference"], text="I hike a lot.")
    call(tools["update_preference"], preference="I hike a lot", text="I'm not allergic to nuts.")
    assert [p.text for p in store.list("alice")] == ["I'm allergic to nuts.", "I hike a lot."]
    assert [p.text for p in store.proposals.list("alice")] == ["I'm not allergic to nuts."]
    assert "Forgot" in str(call(tools["forget_preference"], preference=nuts.id).content)
    store.undo("alice", nuts.id)
    assert nuts.id in [p.id for p in store.list("alice")]


@pytest.mark.parametrize(
    ("name", "args", "word"),
    [
        ("remember_preference", {"text": "  "}, "blank"),
        ("remember_preference", {"text": "x" * 5000}, "2000"),
        ("remember_preference", {}, "text: Field required"),
        ("remember_preference", {"text": "No nuts.", "scope": "sometimes"}, "'always' or 'relevant'"),
        ("forget_preference", {"preference": "nonsense"}, "Call recall_preferences"),
        ("update_preference", {"preference": "nonsense", "text": "No nuts."}, "Call recall_preferences"),
        ("update_preference", {"preference": "nonsense"}, "text or scope"),
        ("review_preference", {"preference": "nonsense", "decision": "approve"}, "Call pending_preferences"),
    ],
)
def test_what_the_model_can_mend_it_is_told(store: PreferenceStore, name: str, args: dict[str, Any], word: str) -> None:
    message = call(named(store)[name], **args)
    assert message.status == "error"
    assert word in str(message.content)
    assert len(str(message.content)) < 300
    assert store.list("alice") == []


def test_another_users_id_is_unknown(store: PreferenceStore) -> None:
    id = store.add("alice", "I love hiking.").id
    for name, args in (("forget_preference", {}), ("update_preference", {"text": "No nuts."})):
        message = call(named(store)[name], BOB, preference=id, **args)
        assert message.status == "error"
        assert "hiking" not in str(message.content)
    assert [p.text for p in store.list("alice")] == ["I love hiking."]


def test_what_the_model_cannot_mend_is_raised(store: PreferenceStore) -> None:
    with pytest.raises(UserNotSpecifiedError):
        named(store)["recall_preferences"].invoke({})
    store.close()
    with pytest.raises(StoreUnavailableError):
        call(named(store)["recall_preferences"])


def test_the_configs_user_comes_before_the_constructors(store: PreferenceStore) -> None:
    tools = named(store, user_id="carol")
    tools["remember_preference"].invoke({"text": "No nuts."})
    call(tools["remember_preference"], text="I love hiking.")
    assert (store.count("carol"), store.count("alice")) == (1, 1)


def test_with_approval_nothing_applies_before_the_users_word(store: PreferenceStore) -> None:
    tools = named(store, require_approval=True)
    assert "once the user approves" in str(call(tools["remember_preference"], text="No nuts.").content)
    assert "Noted before" in str(call(tools["remember_preference"], text="No nuts.").content)
    call(tools["remember_preference"], text="I love hiking.")
    nuts, hiking = store.proposals.list("alice")
    assert nuts.id in str(call(tools["pending_preferences"]).content)
    assert "Approved" in str(call(tools["review_preference"], preference=nuts.id, decision="approve").content)
    assert "Rejected" in str(call(tools["review_preference"], preference=hiking.id, decision="reject").content)
    assert [p.text for p in store.list("alice")] == ["No nuts."]
    assert call(tools["pending_preferences"]).content == "Nothing waits for the user's decision."


def test_a_long_list_is_cut_and_says_so(store: PreferenceStore) -> None:
    store.add_many("alice", [f"Fact number {n}." for n in range(25)], consolidate=False)
    lines = str(call(named(store)["recall_preferences"]).content).splitlines()
    assert len(lines) == 21
    assert lines[-1].startswith("and 5 older ones")


async def test_async_runs_act_for_their_user(store: PreferenceStore) -> None:
    tool = named(store)["remember_preference"]
    await tool.ainvoke({"text": "No nuts."}, ALICE)
    assert [p.text for p in store.list("alice")] == ["No nuts."]


def test_what_a_model_remembers_is_inferred_and_never_against_the_users_word(store: PreferenceStore) -> None:
    tools = {tool.name: tool for tool in preference_tools(store)}
    said = store.add("alice", "I love Chinese food.")
    assert "approves" in str(call(tools["remember_preference"], text="I hate Chinese food.").content)
    assert str(call(tools["remember_preference"], text="I love Chinese food.").content).startswith("Known already")
    assert store.list("alice") == [said]
    call(tools["remember_preference"], text="I ski.")
    assert [each.source for each in store.list("alice")] == ["explicit", "inferred"]


def test_a_model_proposes_a_change_of_what_the_user_has_said(store: PreferenceStore) -> None:
    tools = {tool.name: tool for tool in preference_tools(store)}
    said = store.add("alice", "I'm allergic to nuts.", scope="always")
    told = call(tools["update_preference"], preference=said.id, text="I'm allergic to peanuts.")
    assert "approves" in str(told.content)
    assert "only other words" in str(call(tools["update_preference"], preference=said.id, scope="relevant").content)
    assert store.list("alice") == [said]
    (waiting,) = store.proposals.list("alice")
    assert (waiting.text, waiting.scope, waiting.supersedes) == ("I'm allergic to peanuts.", "always", (said.id,))
    store.proposals.approve("alice", waiting.id)
    assert [each.text for each in store.list("alice")] == ["I'm allergic to peanuts."]
