"""`la-agents evaluate`: the measurements that the documentation quotes, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from la_agents import ChatLinearAlignment
from la_agents.calibration import Calibration
from la_agents.cli import app
from tests.tiny import save_tiny_model

PERSONAL = Path(__file__).parents[2] / "data" / "personal_preference.jsonl"


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["evaluate", *arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_model("llama", tmp_path_factory.mktemp("model")))


def test_steerability_from_the_command_line_and_again(tiny_folder: str, tmp_path: Path) -> None:
    arguments = ["steerability", "--model", tiny_folder, "--limit", "1", "--principles", "french, pirate"]
    arguments += ["--strength", "0.5,1", "--strength", "2", "--methods", "prompt", "--methods", "linear"]
    shown = run(*arguments, "--out", str(tmp_path))
    for setting in ("base", "prompt", "linear strength=0.5", "linear strength=1", "linear strength=2"):
        assert f"| {setting} |" in shown
    assert "![" not in shown
    files = {file.name: file.read_bytes() for file in tmp_path.glob("steerability*")}
    assert set(files) == {"steerability.jsonl", "steerability.md", "steerability.png"}
    assert run(*arguments, "--out", str(tmp_path)) == shown
    assert {file.name: file.read_bytes() for file in tmp_path.glob("steerability*")} == files


def test_calibrate_writes_what_the_faces_read(tiny_folder: str, tmp_path: Path) -> None:
    arguments = ["calibrate", "--model", tiny_folder, "--limit", "1", "--principles", "pirate", "--out", str(tmp_path)]
    arguments += ["--strength", "1"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    assert "Best on average: " in done.stdout
    assert "Questions asked: 1. At least 8 are needed" in done.stdout
    file = tmp_path / "calibration.json"
    assert str(file) in done.stderr
    as_json = json.loads(CliRunner().invoke(app, [*arguments, "--json", "--rate", "0.5"]).stdout)
    written = json.loads(file.read_text())
    assert as_json["calibration"] == written
    assert [one["text"] for one in written["principles"]] == ["Talk like a pirate: say arr, ye and matey."]
    assert ChatLinearAlignment(model=tiny_folder, calibration=file).calibration == Calibration.read(file)


def test_choices_from_the_command_line(tiny_folder: str, tmp_path: Path) -> None:
    arguments = ["personal-preference", "--data", str(PERSONAL), "--limit", "1"]
    shown = run(*arguments, "--model", tiny_folder, "--methods", "prompt", "--out", str(tmp_path))
    assert "| prompt |" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "steerability", "--strength", "much"],
        ["evaluate", "steerability", "--methods", "magic"],
        ["evaluate", "steerability", "--principles", "cats"],
        ["evaluate", "steerability", "--limit", "0"],
        ["evaluate", "steerability", "--data", "no/such.json"],
        ["evaluate", "prefeval-mcq", "--data", "."],
        ["calibrate", "--rate", "0"],
        ["calibrate", "--strength", "0"],
    ],
)
def test_wrong_options_are_one_line_before_any_model_is_loaded(arguments: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*arguments, "--model", "no/such/model", "--out", str(tmp_path / "out")])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "no/such/model" not in done.stderr
    assert not (tmp_path / "out").exists()
