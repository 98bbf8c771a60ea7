"""Every example runs to its end with the bundled model and prints what it promises."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("bundled_model")  # loaded once; the examples find that copy

EXAMPLES = Path(__file__).parents[2] / "examples"
PIRATE = re.compile(r"\b(ye|aye|arr+|matey|ahoy|pirate|sail|ship|treasure)\b", re.IGNORECASE)


def run(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_no_example_is_forgotten() -> None:
    tested = {"plug_into_existing_chain.py", "personalized_rag.py", "streaming_chat.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested


@pytest.mark.parametrize("name", ["plug_into_existing_chain.py", "personalized_rag.py"])
def test_each_user_gets_an_answer_of_their_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    alice, bob = run(name, capsys).split("\nbob: ")
    assert PIRATE.search(alice)
    assert bob.strip()
    assert not PIRATE.search(bob)


def test_both_turns_of_the_chat_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    _, first, second = run("streaming_chat.py", capsys).split("\n> ")
    for turn in (first, second):
        _, answer = turn.split("\n", 1)
        assert PIRATE.search(answer)
