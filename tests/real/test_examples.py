"""Every example runs to its end with the bundled model and prints what it promises."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("bundled_model")  # loaded once; the examples find that copy

EXAMPLES = Path(__file__).parents[2] / "examples"
PIRATE = re.compile(r"\b(ye|aye|arr+|matey|ahoy|pirate|sail|ship|treasure)\b", re.IGNORECASE)


def run(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_no_example_is_forgotten() -> None:
    tested = {
        "agent_with_memory.py",
        "langgraph_rag_agent.py",
        "personalized_rag.py",
        "plug_into_existing_chain.py",
        "streaming_chat.py",
        "structured_profile.py",
        "vendor_model_with_our_memory.py",
    }
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested


@pytest.mark.parametrize("name", ["personalized_rag.py", "langgraph_rag_agent.py"])
def test_answers_from_documents_keep_every_fact_for_each_user(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [
        answer.removeprefix("alice: ").split("\n  (looked up")[0] for answer in run(name, capsys).split("\nbob: ")
    ]
    for answer in answers:
        for fact in ("seals", "crabs", "gulls"):
            assert fact in answer
    assert len(set(answers)) == 2


def test_each_user_gets_an_answer_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    alice, bob = run("plug_into_existing_chain.py", capsys).split("\nbob: ")
    assert PIRATE.search(alice)
    assert bob.strip()
    assert not PIRATE.search(bob)


def test_the_agent_follows_in_one_thread_what_it_was_told_in_another(capsys: pytest.CaptureFixture[str]) -> None:
    remembered, _, answers = run("agent_with_memory.py", capsys).partition("\nalice: ")
    alice, bob = answers.split("\nbob: ")
    assert "pirate" in remembered
    assert PIRATE.search(alice)
    assert bob.strip()
    assert not PIRATE.search(bob)


def test_a_vendors_model_gets_our_memory(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["vendor_model_with_our_memory.py"])
    alice, bob = run("vendor_model_with_our_memory.py", capsys).split("\nbob: ")
    assert "- I'm allergic to peanuts." in alice
    assert "now weighs 1.19" in alice
    assert "waits for approval: Always give metric units." in alice
    assert "You are a cook." in bob
    assert "peanuts" not in bob


def test_the_rag_agent_looks_up_what_it_answers(capsys: pytest.CaptureFixture[str]) -> None:
    for answer in run("langgraph_rag_agent.py", capsys).split("\nbob: "):
        assert "(looked up sea: The sea near the harbour" in answer


def test_the_profile_parses_and_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    profile, end, kept = run("structured_profile.py", capsys).partition("\n}\n")
    values = json.loads(profile + end)
    assert values["name"] == "Ada"
    assert values["diet"] in ("anything", "vegetarian", "vegan")
    assert 1 <= len(values["interests"]) <= 3
    assert kept.startswith(f"always My diet: {values['diet']}.")


def test_both_turns_of_the_chat_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    _, first, second = run("streaming_chat.py", capsys).split("\n> ")
    for turn in (first, second):
        _, answer = turn.split("\n", 1)
        assert PIRATE.search(answer)


def test_the_agent_of_studio_serves_the_user_of_the_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LA_AGENTS_STORE", str(tmp_path))
    monkeypatch.delenv("MODEL", raising=False)
    config = json.loads((EXAMPLES / "studio" / "langgraph.json").read_text())
    file, name = config["graphs"]["agent"].split(":")
    module = runpy.run_path(str(EXAMPLES / "studio" / file))
    asked = {"messages": [("human", "Please always talk like a pirate: say arr, ye and matey.")]}
    for user in ("alice", "bob"):
        result = module[name].invoke(asked, context=module["Context"](user))
        assert result["messages"][-1].text
        asked = {"messages": [("human", "Tell me about the sea.")]}
    assert "pirate" in module["store"].list("alice")[0].text
    assert module["store"].list("bob") == []
    module["store"].close()
