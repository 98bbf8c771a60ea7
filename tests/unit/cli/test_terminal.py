"""What is seen on a terminal only: words wrapped, progress before the first token, lines that can be edited."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from la_agents.cli import app
from la_agents.cli.terminal import WordWrap, print_table
from tests.tiny import save_tiny_model

TEXT = "The sea is deep, and wide.\n\n  - Ships   sail on it\n- Donaudampfschifffahrtsgesellschaft\n海は広いです。 end "


def wrapped(text: str, width: int, size: int) -> str:
    wrap = WordWrap(width)
    return "".join(wrap.push(text[start : start + size]) for start in range(0, len(text), size)) + wrap.end()


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_words_are_wrapped_alike_in_whatever_pieces_they_come(size: int) -> None:
    assert wrapped(TEXT, 20, size) == wrapped(TEXT, 20, len(TEXT))


@pytest.mark.parametrize("width", [4, 10, 20, 200])
def test_no_word_is_broken_and_no_line_too_long_but_for_long_words(width: int) -> None:
    from rich.cells import cell_len

    shown = wrapped(TEXT, width, 3)
    assert "".join(shown.split()) == "".join(TEXT.split())
    if width >= 40:
        assert shown == TEXT.rstrip(" ")
        assert shown.split() == TEXT.split()
    for line in shown.split("\n"):
        words = line.split()
        assert cell_len(line) <= width or len(words) == 1 or max(map(cell_len, words)) >= width


def test_a_finished_word_is_shown_at_once() -> None:
    wrap = WordWrap(40)
    assert [wrap.push("Hel"), wrap.push("lo "), wrap.push("you\n"), wrap.push("x")] == ["", "Hello", " you\n", ""]
    assert wrap.end() == "x"


class Terminal:
    """A program behind a pseudo-terminal of some width."""

    def __init__(self, command: list[str], width: int) -> None:
        own, others = pty.openpty()
        size = {"COLUMNS": str(width), "LINES": "24", "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self._fd, self.seen = own, ""
        self.process = subprocess.Popen(
            command, stdin=others, stdout=others, stderr=others, env={**os.environ, **size}, close_fds=True
        )
        os.close(others)

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def wait_for(self, text: str, seconds: float = 200) -> None:
        """Read until the text was seen after what was waited for before."""
        end, before = time.monotonic() + seconds, len(self.seen)
        while text not in self.seen[before:]:
            assert time.monotonic() < end, self.seen[-500:]
            if select.select([self._fd], [], [], 1)[0]:
                try:
                    self.seen += os.read(self._fd, 4096).decode(errors="replace")
                except OSError:  # the program has ended
                    break
        assert text in self.seen[before:], self.seen[-500:]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_model("llama", tmp_path_factory.mktemp("model")))


def test_chat_on_a_terminal_edits_lines_shows_progress_and_has_commands(model: str, tmp_path: Path) -> None:
    pytest.importorskip("prompt_toolkit")
    command = [sys.executable, "-m", "la_agents.cli", "--store", str(tmp_path / "prefs"), "chat", "-u", "alice"]
    chat = Terminal([*command, "--model", model, "--max-tokens", "20"], width=60)
    chat.wait_for("/help shows commands.")
    chat.wait_for(">")
    assert "Loading the model" in chat.seen
    assert f"There is no store at {tmp_path}" in chat.seen
    chat.type("/srength 3\x1b[H\x1b[C\x1b[Ct\x1b[F\r")  # mended with Home, arrows and End
    chat.wait_for("Strength: 3")
    chat.type("Hello there\r")
    chat.wait_for("Answering")
    chat.wait_for("No preference applied")
    chat.type("\x1b[A\x1b[A\r")  # the line before the last, again
    chat.wait_for("Strength: 3")
    chat.type("/quit\r")
    assert chat.process.wait(timeout=60) == 0


def test_nothing_of_progress_is_written_where_nobody_watches(model: str, tmp_path: Path) -> None:
    asked = ["--store", str(tmp_path / "prefs"), "ask", "Why?", "-u", "alice", "--model", model, "--max-tokens", "4"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.stderr
    assert "Loading" not in done.stderr
    assert "Answering" not in done.stderr
    assert "\x1b" not in done.output


# -- chat's commands ---------------------------------------------------------------------------------------------------


def chat(tmp_path: Path, model: str, *lines: str) -> tuple[str, str]:
    arguments = ["--store", str(tmp_path / "prefs"), "chat", "-u", "alice", "--model", model, "--max-tokens", "4"]
    done = CliRunner().invoke(app, arguments, input="".join(f"{line}\n" for line in lines))
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def test_chat_has_help_and_shows_preferences(model: str, tmp_path: Path) -> None:
    CliRunner().invoke(app, ["--store", str(tmp_path / "prefs"), "prefs", "add", "I ski.", "-u", "alice"])
    shown, noted = chat(tmp_path, model, "/help", "/prefs", "/quit", "/prefs")
    for command in ("/prefs", "/strength", "/new", "/quit"):
        assert command in noted
    assert shown.count("I ski.") == 1


def test_chat_sets_the_strength_and_refuses_what_is_none(model: str, tmp_path: Path) -> None:
    CliRunner().invoke(
        app, ["--store", str(tmp_path / "prefs"), "prefs", "add", "Be brief.", "-u", "alice", "--scope", "always"]
    )
    _, noted = chat(
        tmp_path,
        model,
        "/strength",
        "/strength 1.5",
        "Why?",
        "/strength -7",
        "/strength much",
        "Why?",
        "/strength auto",
    )
    assert re.findall(r"Strength: (\S+)", noted) == ["auto", "1.5", "auto"]
    assert noted.count("strength 1.5, ") == 2
    assert noted.count("Error: ") == 2


def test_what_is_no_command_is_said_and_not_sent_to_the_model(model: str, tmp_path: Path) -> None:
    shown, noted = chat(tmp_path, model, "/dance", "/ prefs", "/newer")
    assert shown == ""
    assert noted.count("Error: Expected one of /help") == 3


def test_a_question_comes_from_standard_input_and_a_page_goes_to_standard_output(model: str, tmp_path: Path) -> None:
    common = ["-u", "alice", "--model", model, "--max-tokens", "4"]
    store = ["--store", str(tmp_path / "prefs")]
    asked = CliRunner().invoke(app, [*store, "ask", "-", *common], input="Why is the sky blue?\n")
    assert asked.exit_code == 0, asked.output
    plain = CliRunner().invoke(app, [*store, "ask", "Why is the sky blue?", *common])
    assert asked.stdout == plain.stdout
    page = CliRunner().invoke(app, [*store, "explain", "-", *common, "--out", "-"], input="Why is the sky blue?")
    assert page.exit_code == 0, page.output
    assert page.stdout.lstrip().lower().startswith("<!doctype html>")
    assert "Why is the sky blue?" in page.stdout
    file = tmp_path / "page.html"
    file.write_text("precious")
    refused = CliRunner().invoke(app, [*store, "explain", "Why?", *common, "--out", str(file)])
    assert (refused.exit_code, file.read_text()) == (2, "precious")
    assert not (tmp_path / "prefs").exists()


@pytest.mark.parametrize(
    "options", [["--method", "linear"], ["--method", "cfg", "--support", "plausible"], ["--support", "all"]]
)
def test_method_and_support_are_chosen(model: str, tmp_path: Path, options: list[str]) -> None:
    store = ["--store", str(tmp_path / "prefs")]
    CliRunner().invoke(app, [*store, "prefs", "add", "Be brief.", "-u", "alice", "--scope", "always"])
    common = ["ask", "Why?", "-u", "alice", "--model", model, "--max-tokens", "4", "--json"]
    done = CliRunner().invoke(app, [*store, *common, *options])
    assert done.exit_code == 0, done.output
    refused = CliRunner().invoke(app, [*store, *common, options[0], "magic"])
    assert (refused.exit_code, refused.stdout) == (2, "")


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_a_table_has_whole_words_on_every_width(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    rows = [("0123456789abcdef", "prompt-system strength=2", "-0.35 [-0.41, -0.29]", "Answer in one short sentence.")]
    print_table(("id", "followed best with", "gain", "preference"), rows)
    shown = capsys.readouterr().out
    for cell in rows[0]:
        assert set(cell.split()) <= set(shown.split()), shown
    if width >= 80:
        assert max(map(len, shown.splitlines())) <= width
        assert "preference: " not in shown
    assert ("preference: " in shown) == (width < 80)


def test_three_answers_stand_below_each_other_on_a_narrow_terminal(model: str, tmp_path: Path) -> None:
    store = ["--store", str(tmp_path / "prefs")]
    asked = ["ask", "Why?", "-u", "alice", "--model", model, "--max-tokens", "4", "--compare"]
    wide, narrow = (CliRunner(env={"COLUMNS": str(n)}).invoke(app, [*store, *asked]).stdout for n in (100, 40))
    assert "\nunaligned: " in narrow
    assert "\naligned: " in narrow
    assert "unaligned: " not in wide
