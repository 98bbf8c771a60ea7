"""The commands that answer, with the bundled model and a real store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from la_agents import PreferenceStore
from la_agents.cli import app
from la_agents.models import LoadedModel

pytestmark = pytest.mark.usefixtures("bundled_model")  # loaded once; the commands find that copy

PIRATE = "Talk like a pirate."


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("prefs"))
    PreferenceStore(path=folder).add("alice", PIRATE, scope="always")
    return folder


def run(store: str, *arguments: str, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(app, ["--store", store, *arguments], input=stdin)
    assert result.exit_code == 0, result.output
    return result


def test_ask_prints_the_answer_and_notes_the_rest_on_stderr(store: str) -> None:
    result = run(store, "ask", "How do I make tea?", "--user", "alice", "--max-tokens", "8")
    assert result.stdout.strip()
    assert PIRATE not in result.stdout
    assert PIRATE in result.stderr


def test_streamed_and_json_answers_are_the_same(store: str) -> None:
    question = ["ask", "How do I make tea?", "-u", "alice", "--max-tokens", "8"]
    streamed = run(store, *question).stdout
    assert json.loads(run(store, *question, "--json").stdout)["answer"] == streamed.removesuffix("\n")


def test_json_is_one_object_of_the_documented_form(store: str) -> None:
    result = run(store, "ask", "How do I make tea?", "-u", "alice", "--max-tokens", "8", "--strength", "2", "--json")
    answer = json.loads(result.stdout)
    assert list(answer) == ["answer", "user", "principles", "alignment", "usage"]
    assert answer["user"] == "alice"
    (principle,) = answer["principles"]
    assert set(principle) == {"id", "text", "weight", "relevance", "layer"}
    assert (principle["text"], principle["weight"], principle["relevance"]) == (PIRATE, 1.0, None)
    assert answer["alignment"]["strength"] == 2
    assert answer["usage"]["output_tokens"] == 8
    assert "principles" not in answer["alignment"]


def test_compare_shows_the_same_question_three_ways(store: str) -> None:
    question = [
        "ask",
        "How do I make tea?",
        "-u",
        "alice",
        "--max-tokens",
        "12",
        "--strength",
        "2",
        "--compare",
    ]
    answer = json.loads(run(store, *question, "--json").stdout)
    three = {answer["answer"], answer["compare"]["unaligned"], answer["compare"]["prompted"]}
    assert len(three) == 3
    shown = run(store, *question).stdout
    for heading in ("unaligned", "prompted", "aligned"):
        assert heading in shown


def test_a_user_without_preferences_is_answered_unaligned(store: str) -> None:
    answer = json.loads(run(store, "ask", "How do I make tea?", "-u", "bob", "--max-tokens", "4", "--json").stdout)
    assert answer["principles"] == []
    assert answer["alignment"]["changed_tokens"] == 0


def test_a_preference_that_does_not_matter_to_the_question_is_not_used(store: str) -> None:
    run(store, "prefs", "add", "I am vegetarian.", "--user", "carol", "--scope", "relevant")
    ask = ["--user", "carol", "--max-tokens", "2", "--json"]
    related = json.loads(run(store, "ask", "What should I cook tonight?", *ask).stdout)
    assert [principle["text"] for principle in related["principles"]] == ["I am vegetarian."]
    unrelated = json.loads(run(store, "ask", "How far is the moon?", *ask).stdout)
    assert unrelated["principles"] == []


def test_chat_remembers_its_turns_until_new(store: str) -> None:
    chat = ["chat", "-u", "bob", "--max-tokens", "12"]
    ask = "What is my name?\n"
    told = run(store, *chat, stdin=f"My name is Zebulon.\n{ask}/quit\n").stdout
    forgotten = run(store, *chat, stdin=f"My name is Zebulon.\n/new\n{ask}").stdout
    assert "Zebulon" in told.splitlines()[-1]
    assert "Zebulon" not in forgotten.splitlines()[-1]


def test_chat_outlives_a_turn_that_fails(store: str) -> None:
    too_long = "tea " * 9000
    result = run(store, "chat", "-u", "alice", "--max-tokens", "4", stdin=f"{too_long}\nWhat is tea?\n")
    assert "Error: " in result.stderr
    assert result.stdout.strip()


def test_demo_shows_two_users_three_ways(store: str, bundled_model: LoadedModel) -> None:
    shown = run(store, "demo", "--max-tokens", "8").stdout
    assert f"{bundled_model.name}, a 135M model" in shown
    for word in ("alice prefers", "bob prefers", "unaligned", "prompted", "aligned", "divergence", "changed"):
        assert word in shown
    for command, line in zip(("prefs add", "ask", "explain"), shown.splitlines()[-3:], strict=True):  # what to try next
        assert f" {command} " in line


def test_doctor_times_the_start(store: str) -> None:
    shown = run(store, "doctor", "--time").stdout
    for stage in ("imports", "load the model", "retrieve preferences", "prefill and first token", "total"):
        assert stage in shown
    assert Path(store).is_dir()


def test_explain_shows_every_token_and_writes_a_page(store: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    arguments = ["explain", "How do I make tea?", "-u", "alice", "--max-tokens", "8", "--strength", "2"]
    result = run(store, *arguments, "--out", str(page))
    assert "Changed most" in result.stdout
    assert PIRATE in result.stderr
    assert "\x1b" not in result.stdout  # nobody's terminal, no colours
    written = page.read_text(encoding="utf-8")
    assert PIRATE in written
    assert "How do I make tea?" in written
    tokens = json.loads(run(store, *arguments, "--json").stdout)["alignment"]["tokens"]
    assert len(tokens) == 8
    assert all(token["candidates"] for token in tokens)


def test_explain_refuses_a_place_that_is_not_there_before_any_work(store: str, tmp_path: Path) -> None:
    arguments = ["--store", store, "explain", "Why?", "-u", "alice", "--model", "no/such/model", "--out"]
    result = CliRunner().invoke(app, [*arguments, str(tmp_path / "none" / "page.html")])
    assert result.exit_code == 2
    assert "--out" in result.stderr


def test_a_layer_is_named_on_the_command_line(tmp_path: Path) -> None:
    store = str(tmp_path / "prefs")
    run(store, "layers", "add", "acme", PIRATE, "--scope", "always")
    arguments = ["ask", "How do I make tea?", "-u", "bob", "--max-tokens", "2", "--json"]
    (principle,) = json.loads(run(store, *arguments, "--layer", "acme").stdout)["principles"]
    assert (principle["layer"], principle["text"]) == ("acme", PIRATE)
    assert json.loads(run(store, *arguments).stdout)["principles"] == []
