"""Bytes that are no text, and streams that cannot hold every character: one line and status 2, or an escape."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from la_agents.cli import app
from tests.tiny import save_tiny_model

EMOJI = "Say 🦜 and Grüße."
LATIN = "caf\udce9"  # as Python reads the bytes b"caf\xe9" of a terminal that is set to UTF-8


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model("llama", tmp_path_factory.mktemp("model"))


def run(store: Path, *arguments: str, charset: str = "utf-8", **options: object) -> object:
    return CliRunner(charset=charset).invoke(app, ["--store", str(store), *arguments], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", LATIN, "-u", "alice"],
        ["ask", "Why?", "-u", LATIN],
        ["ask", "Why?", "-u", "alice", "--layer", LATIN],
        ["ask", "Why?", "-u", "alice", "--model", LATIN],
        ["ask", LATIN, "-u", "alice", "--compare"],
        ["explain", LATIN, "-u", "alice"],
        ["chat", "-u", LATIN],
        ["prefs", "add", LATIN, "-u", "alice"],
        ["prefs", "list", "-u", LATIN],
        ["prefs", "search", LATIN, "-u", "alice"],
        ["prefs", "update", "id", "-u", "alice", "--text", LATIN],
        ["prefs", "forget", LATIN, "-u", "alice"],
        ["prefs", "approve", LATIN, "-u", "alice"],
        ["prefs", "export", LATIN, "-u", "alice"],
        ["layers", "add", "acme", LATIN],
        ["layers", "list", LATIN],
        ["evaluate", "steerability", "--principles", LATIN],
        [LATIN],
    ],
)
def test_an_argument_that_is_no_text_is_one_line_and_status_2(tmp_path: Path, arguments: list[str]) -> None:
    result = run(tmp_path / "prefs", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line == r"Error: Expected arguments in UTF-8, got 'caf\udce9'; check the encoding of the terminal."
    assert not (tmp_path / "prefs").exists()


def test_bytes_of_a_real_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "la_agents.cli", "--store", str(tmp_path), "prefs", "add", b"caf\xe9", "-u", "a"]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONUTF8": "1"})
    assert (done.returncode, done.stdout) == (2, b"")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("charset", "shown"),
    [("ascii", r"\U0001f99c and Gr\xfc\xdfe"), ("latin-1", r"\U0001f99c and Grüße")],
)
def test_what_the_stream_cannot_hold_is_escaped(tmp_path: Path, charset: str, shown: str) -> None:
    store = tmp_path / "prefs"
    run(store, "prefs", "add", EMOJI, "-u", "alice", charset=charset)
    identifier = json.loads(run(store, "prefs", "list", "-u", "alice", "--json", charset=charset).stdout)[0]["id"]
    listed = run(store, "prefs", "list", "-u", "alice", charset=charset)
    assert shown in " ".join(listed.stdout.split())
    for command in (["prefs", "search", "Say it.", "--min-relevance", "-1"], ["prefs", "history", identifier]):
        for form in ([], ["--json"]):
            result = run(store, *command, *form, "-u", "alice", charset=charset)
            assert (result.exit_code, result.exception) == (0, None)
    assert run(store, "prefs", "forget", identifier, "-u", "alice", charset=charset).exit_code == 0


@pytest.mark.parametrize("charset", ["ascii", "latin-1", "utf-8", "utf-16"])
def test_json_is_json_in_any_encoding(tmp_path: Path, charset: str) -> None:
    run(tmp_path, "prefs", "add", EMOJI, "-u", "alice")
    listed = run(tmp_path, "prefs", "list", "-u", "alice", "--json", charset=charset)
    assert [each["text"] for each in json.loads(listed.stdout)] == [EMOJI]


def test_answers_of_a_model_reach_a_stream_in_ascii(tmp_path: Path, model: Path) -> None:
    """The tiny model writes at random, so its answers hold all kinds of characters."""
    run(tmp_path, "prefs", "add", EMOJI, "-u", "alice", "--scope", "always")
    command = ["Say ü.", "-u", "alice", "--model", str(model), "--max-tokens", "40", "--temperature", "1.5", "--seed"]
    for asked in (["ask"], ["ask", "--compare"], ["ask", "--json"], ["explain"]):
        for seed in ("1", "2"):
            wide, narrow = (run(tmp_path, asked[0], *command, seed, *asked[1:], charset=c) for c in ("utf-8", "ascii"))
            assert (wide.exit_code, narrow.exit_code) == (0, 0), narrow.output
            assert narrow.stdout.isascii()


def test_chat_leaves_a_bad_line_out_and_goes_on(tmp_path: Path, model: Path) -> None:
    lines = b"Hello\ncaf\xe9\n\xff\xfe\nHow are you?\n/quit\n"
    result = run(tmp_path, "chat", "-u", "alice", "--model", str(model), "--max-tokens", "4", input=lines)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("Error: Expected a line in utf-8, got other bytes; it was left out.") == 2
    assert result.stderr.count("No preference applied") == 2
