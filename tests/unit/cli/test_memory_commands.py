"""`la-agents prefs` and `layers`: what they say they did, what they leave alone, files and standard streams."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from la_agents.cli import app


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "prefs"


def run(store: Path, *arguments: str, columns: int = 80, **options: str) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, ["--store", str(store), *arguments], **options)


def add(store: Path, text: str, *options: str) -> Result:
    added = run(store, "prefs", "add", text, "-u", "alice", *options)
    assert added.exit_code == 0, added.stderr
    return added


def active(store: Path) -> list[str]:
    return [one["text"] for one in json.loads(run(store, "prefs", "list", "-u", "alice", "--json").stdout)]


# -- what adding did ---------------------------------------------------------------------------------------------------


def commands_in(text: str) -> list[list[str]]:
    """The command lines that a note proposes, without the program's name."""
    return [shlex.split(line)[1:] for line in re.findall(r"la-agents [^\n]*", text)]


def test_adding_says_that_it_added(store: Path) -> None:
    added = add(store, "I ski.")
    assert (added.stdout, added.stderr) == (f"{added.stdout.strip()}\n", "Added.\n")


def test_what_ends_says_until_when_where_it_is_added_and_listed(store: Path) -> None:
    add(store, "I ski.")
    assert "until" not in run(store, "prefs", "list", "-u", "alice").stdout
    added = add(store, "I am in Rome.", "--expires", "2999-01-31")
    assert added.stderr == "Added; it applies until 2999-01-31 00:00.\n"
    heading, *rows = run(store, "prefs", "list", "-u", "alice").stdout.splitlines()
    assert "until" in heading
    assert [row.endswith("I am in Rome.") for row in rows] == ["2999-01-31 00:00" in row for row in rows]


@pytest.mark.parametrize(
    ("before", "now"),
    [("I ski.", "i ski"), ("Answer in French.", "  answer in FRENCH!"), ("J'aime le thé.", "j'aime le thé")],
)
def test_adding_what_is_known_says_the_same_as_which_and_its_undo_runs(store: Path, before: str, now: str) -> None:
    known = add(store, before).stdout
    again = add(store, now)
    assert again.stdout == known
    assert f"Nothing new is stored: it says the same as {known.strip()}, " in again.stderr
    assert "supersedes" not in again.stderr
    (undo,) = commands_in(again.stderr)
    assert CliRunner().invoke(app, undo).exit_code == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("My favourite colour is red.", "My favourite colour is blue."),
        ("I like cats.", "I don't like cats."),
    ],
)
def test_adding_what_supersedes_names_it_and_its_undo_brings_it_back(store: Path, old: str, new: str) -> None:
    replaced = add(store, old).stdout.strip()
    added = add(store, new)
    assert f"It supersedes {replaced}, {old!r}." in added.stderr
    assert active(store) == [new]
    undo = next(command for command in commands_in(added.stderr) if "undo" in command)
    assert CliRunner().invoke(app, undo).exit_code == 0
    assert old in active(store)


def test_adding_what_may_conflict_names_it_and_how_to_decide(store: Path) -> None:
    other = add(store, "I like very spicy food.").stdout.strip()
    added = add(store, "I cannot eat very spicy food.")
    assert f"It may conflict with {other}, 'I like very spicy food.'." in added.stderr
    decide = next(command for command in commands_in(added.stderr) if "decide" in command)
    assert CliRunner().invoke(app, decide).exit_code == 0
    assert active(store) == ["I cannot eat very spicy food."]


def test_a_layer_says_it_too_and_its_commands_name_the_layer(store: Path) -> None:
    run(store, "layers", "add", "the house", "My favourite colour is red.")
    added = run(store, "layers", "add", "the house", "My favourite colour is blue.")
    (undo,) = commands_in(added.stderr)
    assert CliRunner().invoke(app, undo).exit_code == 0
    listed = json.loads(run(store, "layers", "list", "the house", "--json").stdout)
    assert [one["text"] for one in listed] == ["My favourite colour is red."] + [
        one["text"] for one in listed if "blue" in one["text"]
    ]


@pytest.mark.parametrize("group", ["prefs", "layers"])
def test_updating_and_forgetting_say_how_to_take_it_back(store: Path, group: str) -> None:
    whose = ["-u", "alice"] if group == "prefs" else []
    first = [] if group == "prefs" else ["acme"]
    id = run(store, group, "add", *first, "Be brief.", *whose).stdout.strip()
    for change in (["update", *first, id, "--text", "Be very brief."], ["forget", *first, id]):
        done = run(store, group, *change, *whose)
        assert done.exit_code == 0, done.stderr
        (undo,) = commands_in(done.stderr)
        assert CliRunner().invoke(app, undo).exit_code == 0
    (listed,) = json.loads(run(store, group, "list", *first, *whose, "--json").stdout)
    assert listed["text"] == "Be brief."


# -- expiry ------------------------------------------------------------------------------------------------------------


def test_expiry_is_a_date_a_time_or_a_number_of_days(store: Path) -> None:
    for number, expires in enumerate(("2099-01-31", "2099-01-31T12:00+02:00", "30d", "2099-01-31T10:00:00Z")):
        add(store, f"Wish number {number}.", "--expires", expires)
    found = [
        datetime.fromisoformat(one["expires_at"].replace("Z", "+00:00"))  # which Python 3.10 does not read
        for one in json.loads(run(store, "prefs", "list", "-u", "alice", "--json").stdout)
    ]
    assert found[0] == datetime(2099, 1, 31).astimezone()
    assert found[1] == found[3] == datetime(2099, 1, 31, 10, tzinfo=timezone.utc)
    assert abs(found[2] - datetime.now(timezone.utc) - timedelta(days=30)) < timedelta(hours=1)


@pytest.mark.parametrize(
    "expires", ["soon", "31.1.2099", "30", "d", "-3d", "0d", "2099-02-30", "2020-01-01", "99999999d"]
)
def test_what_is_no_expiry_is_refused_in_one_line(store: Path, expires: str) -> None:
    done = run(store, "prefs", "add", "I ski.", "-u", "alice", f"--expires={expires}")
    assert (done.exit_code, len(done.stderr.splitlines()), done.stdout) == (2, 1, "")
    assert not store.exists()


@pytest.mark.parametrize("group", ["prefs", "layers"])
def test_what_may_conflict_is_told_shown_and_decided(store: Path, group: str) -> None:
    whose = ["-u", "alice"] if group == "prefs" else []
    first = [] if group == "prefs" else ["acme"]
    older = run(store, group, "add", *first, "Keep every answer short.", *whose).stdout.strip()
    added = run(store, group, "add", *first, "Keep every answer short and simple.", *whose)
    newer = added.stdout.strip()
    assert f"decide {older} {newer}" in added.stderr or f"decide acme {older} {newer}" in added.stderr
    (pair,) = json.loads(run(store, group, "conflicts", *first, *whose, "--json").stdout)
    assert (pair["older"]["id"], pair["newer"]["id"]) == (older, newer)
    assert ("user_id" in pair["older"]) == (group == "prefs")
    assert run(store, group, "decide", *first, older, newer, "--keep", "newer", *whose).exit_code == 0
    assert json.loads(run(store, group, "conflicts", *first, *whose, "--json").stdout) == []
    (left,) = json.loads(run(store, group, "list", *first, *whose, "--json").stdout)
    assert left["id"] == newer


# -- reading a store that is not there ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["prefs", "list", "-u", "alice"], 0),
        (["prefs", "list", "-u", "alice", "--all", "--json"], 0),
        (["prefs", "search", "food", "-u", "alice"], 0),
        (["prefs", "pending", "-u", "alice"], 0),
        (["prefs", "conflicts", "-u", "alice"], 0),
        (["prefs", "stats"], 0),
        (["prefs", "verify"], 0),
        (["prefs", "erase", "-u", "alice", "--yes"], 0),
        (["prefs", "history", "1", "-u", "alice"], 2),
        (["prefs", "forget", "1", "-u", "alice"], 2),
        (["prefs", "undo", "1", "-u", "alice"], 2),
        (["prefs", "update", "1", "-u", "alice", "--weight", "2"], 2),
        (["prefs", "purge"], 2),
        (["layers", "list", "acme"], 0),
        (["layers", "erase", "acme", "--yes"], 0),
    ],
)
def test_reading_a_mistyped_store_creates_nothing(store: Path, arguments: list[str], code: int) -> None:
    done = run(store, *arguments)
    assert done.exit_code == code, done.stderr
    assert not store.exists()


def test_listing_a_mistyped_store_says_that_it_is_not_there(store: Path) -> None:
    assert f"There is no store at {store} yet." in run(store, "prefs", "list", "-u", "alice").stderr
    add(store, "I ski.")
    assert "There is no store" not in run(store, "prefs", "list", "-u", "bob").stderr


# -- files and streams -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["prefs", "layers"])
def test_a_dash_is_standard_input_and_output(store: Path, group: str) -> None:
    whose = ["-u", "alice"] if group == "prefs" else []
    first = [] if group == "prefs" else ["acme"]
    added = run(store, group, "add", *first, "-", *whose, input="J'aime le thé.\n")
    assert added.exit_code == 0, added.stderr
    exported = run(store, group, "export", *first, "-", *whose)
    (line,) = exported.stdout.splitlines()
    assert json.loads(line)["text"] == "J'aime le thé."
    assert not Path("-").exists()
    assert run(store, group, "erase", *first, *whose, "--yes").exit_code == 0
    assert run(store, group, "import", *first, "-", *whose, input=exported.stdout).exit_code == 0
    (back,) = json.loads(run(store, group, "list", *first, *whose, "--json").stdout)
    assert back["text"] == "J'aime le thé."


@pytest.mark.parametrize("group", ["prefs", "layers"])
def test_an_export_overwrites_nothing_unless_it_is_asked_to(store: Path, tmp_path: Path, group: str) -> None:
    file = tmp_path / "precious.jsonl"
    file.write_text("precious")
    whose = [str(file), "-u", "alice"] if group == "prefs" else ["acme", str(file)]
    done = run(store, group, "export", *whose)
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "--force" in done.stderr
    assert file.read_text() == "precious"
    assert run(store, group, "export", *whose, "--force").exit_code == 0
    assert file.read_text() == ""


# -- a store that another process holds --------------------------------------------------------------------------------


@pytest.fixture
def held(store: Path) -> Iterator[Path]:
    """A store that another process has open, as `chat` has."""
    add(store, "I ski.")
    code = (
        "import sys\nfrom la_agents import PreferenceStore\n"
        f"store = PreferenceStore(path={str(store)!r})\nstore.count('alice')\n"
        "print('open', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "open\n"
        yield store
        other.stdin.close()


def test_a_store_that_is_held_names_the_server_way_in_words_of_the_command_line(held: Path) -> None:
    done = run(held, "prefs", "list", "-u", "alice")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert f"`chroma run --path {held}`, then --store http://localhost:8000" in done.stderr
    assert "PreferenceStore" not in done.stderr


# -- narrow terminals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [20, 40, 60, 200])
def test_ids_and_texts_are_whole_however_narrow_the_terminal_is(store: Path, columns: int) -> None:
    text = "Explain things with examples from sailing, please."
    id = add(store, text).stdout.strip()
    for command in (["list", "--all"], ["search", "boats", "--min-relevance", "-1"], ["history", id]):
        shown = run(store, "prefs", *command, "-u", "alice", columns=columns)
        assert shown.exit_code == 0, shown.stderr
        if command[0] != "history":
            assert id in shown.stdout
            assert len(set(text.split()) - set(shown.stdout.split())) == 0  # no word is cut


# -- words of the command line -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named", "leaked"),
    [
        (["prefs", "update", "1", "-u", "alice"], "--expires", "expires_at"),
        (["prefs", "search", "x", "-u", "alice", "--min-relevance", "7"], "--min-relevance", "min_relevance"),
        (["ask", "x", "-u", "alice", "--max-divergence", "-1"], "--max-divergence", "max_divergence"),
        (["ask", "x", "-u", "alice", "--max-tokens", "0"], "--max-tokens", "max_tokens"),
        (["--store", "http://u:p@127.0.0.1:9/x", "prefs", "list", "-u", "alice"], "--store", "url|client"),
        (["--store", "ftp://127.0.0.1/x", "prefs", "list", "-u", "alice"], "--store", "path|url"),
        (["--store", "", "prefs", "list", "-u", "alice"], "--store", "path"),
        (["prefs", "history", "1", "-u", "alice"], "`la-agents prefs list`", "list\\(user"),
        (["prefs", "reject", "1", "-u", "alice"], "`la-agents prefs pending`", "proposals"),
        (["prefs", "migrate", "--shards", "0"], "--shards", "num_shards"),
        (["prefs", "add", "I ski.", "-u", "alice", "--weight", "1e9"], "weight", "limits"),
        (["ask", "x", "-u", "alice", "--layer", "typo"], "`la-agents layers add NAME TEXT`", "shared"),
        (["ask", "-", "-u", "alice"], "standard input", "HumanMessage"),
    ],
)
def test_messages_name_options_and_no_arguments_of_python(
    store: Path, arguments: list[str], named: str, leaked: str
) -> None:
    done = run(store, *arguments)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert named in done.stderr
    assert re.search(rf"(?<![-\w])(?:{leaked})\b", done.stderr) is None


@pytest.mark.parametrize("arguments", [["--version"], ["--version", "prefs", "list"]])
def test_the_version_is_told(arguments: list[str]) -> None:
    from importlib.metadata import version

    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stdout) == (0, f"la-agents {version('la-agents')}\n")


@pytest.mark.parametrize("group", [[], ["prefs"], ["layers"], ["evaluate"]])
def test_each_command_of_a_list_is_told_whole_in_80_columns(group: list[str]) -> None:
    _, listed = CliRunner().invoke(app, [*group, "--help"], terminal_width=80).stdout.split("Commands:\n")
    assert [line for line in listed.splitlines() if not line.rstrip().endswith(".") or "..." in line] == []


@pytest.mark.parametrize("group", [[], ["prefs"], ["prefs", "add"], ["layers", "import"], ["ask"], ["calibrate"]])
def test_h_is_help(group: list[str]) -> None:
    short, long = (CliRunner().invoke(app, [*group, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.stdout == long.stdout
    assert "-h, --help" in short.stdout


@pytest.mark.parametrize(
    ("command", "defaults"),
    [
        (["ask"], ["tapered", "256", "the bundled model", "your data folder"]),
        (["prefs", "add"], ["relevant", "never"]),
        (["prefs", "search"], ["[default: 5]"]),
        (
            ["calibrate"],
            ["0.08", "results", "--limit N How many questions; fewer than 8 are too few to rely on. [default: 8]"],
        ),
        (["demo"], ["[default: 56]"]),
        (["evaluate", "steerability"], ["results", "[default: (0)]"]),
    ],
)
def test_help_says_the_defaults(command: list[str], defaults: list[str]) -> None:
    shown = " ".join(CliRunner(env={"COLUMNS": "200"}).invoke(app, [*command, "--help"]).stdout.split())
    for default in defaults:
        assert default in shown


@pytest.mark.parametrize("width", [30, 80])
def test_help_fits_the_terminal(width: int) -> None:
    shown = CliRunner().invoke(app, ["ask", "--help"], terminal_width=width).stdout
    assert "--strength" in shown
