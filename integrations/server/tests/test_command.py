"""The command: a process of its own, with signals as a service manager sends them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from la_agents_server.cli import app
from tests.tiny import save_tiny_model

COMMAND = [sys.executable, "-c", "from la_agents_server.cli import main; main()"]
RUNNER = CliRunner()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model("llama", tmp_path_factory.mktemp("model"))


def keys(folder: Path, *arguments: str) -> str:
    done = RUNNER.invoke(app, ["keys", *arguments, "--data", str(folder / "data")])
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


@contextmanager
def process(folder: Path, model: Path, log: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server of this folder, once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*COMMAND, "serve", "--store", str(folder / "prefs"), "--data", str(folder / "data")]
    command += ["--port", str(port), "--model", str(model), "--model-name", "tiny", *options]
    paths = os.pathsep.join(each for each in sys.path if each)
    with log.open("wb") as file:
        running = subprocess.Popen(command, stderr=file, env={**os.environ, "PYTHONPATH": paths})
    try:
        while True:
            assert running.poll() is None, log.read_text()
            try:
                if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        yield running, f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        running.wait()


def test_a_server_from_its_first_start_to_a_graceful_stop_and_after_a_crash(tmp_path: Path, model: Path) -> None:
    log, key = tmp_path / "log", keys(tmp_path, "add", "--user", "alice")
    headers = {"Authorization": f"Bearer {key}"}
    secret = "I collect purple walrus figurines."
    with process(tmp_path, model, log) as (running, url):
        link = re.findall(r"signin\?token=([\w-]+)", log.read_text())
        browser = {"sec-fetch-site": "same-origin"}
        assert httpx.post(f"{url}/signin", data={"secret": link[0]}, headers=browser).status_code == 303
        asked = {"model": "tiny", "messages": [{"role": "user", "content": secret}], "stream": True, "max_tokens": 400}
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=asked, headers=headers, timeout=60) as answer:
            lines = answer.iter_lines()
            next(lines)
            running.send_signal(signal.SIGTERM)
            assert list(lines)[-2:] == ["data: [DONE]", ""]
        assert running.wait(60) == 0
    entries = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    answered = [entry for entry in entries if entry["message"] == "answered"]
    assert any(entry["route"] == "/v1/chat/completions" and entry["status"] == 200 for entry in answered)
    assert all(entry["request_id"] for entry in answered)
    assert not any(word in log.read_text() for word in ("walrus", key, "alice", "Bearer"))

    added: list[str] = []
    with process(tmp_path, model, log) as (running, url):
        assert "signin?token" not in log.read_text()  # there is an admin already

        def add_until_it_dies() -> None:
            with httpx.Client(base_url=url, headers=headers) as http:
                for number in range(10_000):
                    try:
                        body = {"text": f"I collect stamps of the year {number}.", "consolidate": False}
                        added.append(http.post("/v1/preferences", json=body).json()["id"])
                    except httpx.TransportError:
                        return

        writer = threading.Thread(target=add_until_it_dies)
        writer.start()
        while len(added) < 5:
            time.sleep(0.01)
        running.kill()
        writer.join()
    with process(tmp_path, model, log) as (_, url):
        listed = httpx.get(f"{url}/v1/preferences?limit=1000", headers=headers).json()["data"]
    assert set(added) <= {each["id"] for each in listed}


def test_the_demo_has_two_users_with_preferences_and_leaves_nothing(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, temporary = tmp_path / "log", tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with process(tmp_path, model, log, "--demo") as (running, url):
        links = re.findall(r"Sign in as (\w+), once: \S+signin\?token=([\w-]+)", log.read_text())
        assert len(links) >= 2
        for _, token in links[:2]:
            browser = httpx.Client(base_url=url, headers={"sec-fetch-site": "same-origin"}, timeout=60)
            assert browser.post("/signin", data={"secret": token}).status_code == 303
            assert browser.get("/v1/preferences").json()["data"]
        assert [*temporary.glob("la-agents-demo-*")]
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    assert not [*temporary.glob("la-agents-demo-*")]
    assert not (tmp_path / "prefs").exists()


def test_keys_are_added_listed_and_revoked(tmp_path: Path) -> None:
    key = keys(tmp_path, "add", "--application", "rag", "--prefix", "rag:", "--days", "30")
    assert re.fullmatch(r"la-[\w-]{43}", key)
    (line,) = keys(tmp_path, "list").splitlines()
    assert "application" in line
    assert "rag" in line
    assert key not in line
    keys(tmp_path, "revoke", line.split()[0])
    assert "revoked" in keys(tmp_path, "list")
    for wrong in (["add"], ["add", "--user", "a", "--admin"], ["revoke", "key_none"]):
        assert RUNNER.invoke(app, ["keys", *wrong, "--data", str(tmp_path / "data")]).exit_code == 2
    link = RUNNER.invoke(app, ["link", "--user", "alice", "--data", str(tmp_path / "data"), "--url", "https://x/"])
    assert link.stdout.startswith("https://x/signin?token=")


@pytest.mark.parametrize("arguments", [["serve", "--model", "/no/such/model"], ["keys", "add", "--user", " "]])
def test_what_cannot_be_done_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    command = [*COMMAND, *arguments, "--data", str(tmp_path / "data")]
    command += ["--store", str(tmp_path / "prefs")] if arguments[0] == "serve" else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "Expected" in done.stderr
