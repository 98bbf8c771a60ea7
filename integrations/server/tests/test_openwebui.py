"""Open WebUI in front of the server, as its users have it: `make test-openwebui`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from running import SECRET, Served, served

pytestmark = [pytest.mark.openwebui, pytest.mark.timeout(1_500)]


@contextmanager
def open_webui(folder: Path, server: Served) -> Iterator[httpx.Client]:
    """A new Open WebUI whose only model is this server's, once it answers; it signs who its user is."""
    command = os.environ.get("OPENWEBUI")
    if command is None:
        pytest.skip("needs Open WebUI: make test-openwebui")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "DATA_DIR": str(folder),
        "WEBUI_SECRET_KEY": "of this test alone, and long enough",
        "OPENAI_API_BASE_URL": f"{server.url}/v1",
        "OPENAI_API_KEY": server.application(name="open-webui"),
        "ENABLE_FORWARD_USER_INFO_HEADERS": "true",
        "FORWARD_USER_INFO_HEADER_JWT_SECRET": SECRET,
        "BYPASS_MODEL_ACCESS_CONTROL": "true",
        "DEFAULT_USER_ROLE": "user",
        "ENABLE_OLLAMA_API": "false",
        "RAG_EMBEDDING_ENGINE": "openai",  # else it looks for a model to download
        "OFFLINE_MODE": "true",
        "SCARF_NO_ANALYTICS": "true",
    }
    log = (folder / "log").open("wb")
    arguments = [command, "serve", "--host", "127.0.0.1", "--port", str(port)]
    running = subprocess.Popen(arguments, env=os.environ | settings, cwd=folder, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as http:
            while not answers(http):
                assert running.poll() is None, (folder / "log").read_text()[-3_000:]
                time.sleep(0.5)
            yield http
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(60)
        log.close()


def answers(http: httpx.Client) -> bool:
    try:
        return http.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def test_two_users_of_open_webui_get_answers_of_their_own(tmp_path: Path) -> None:
    with (
        served(tmp_path / "server", {"device": "cpu", "max_tokens": 60}) as server,
        open_webui(tmp_path, server) as http,
    ):
        users: dict[str, Any] = {}
        for name in ("Ada", "Ben"):
            person = {"name": name, "email": f"{name}@example.org", "password": "a long password 1"}
            if users:  # only the first may sign up by herself and is the admin
                admin = {"Authorization": f"Bearer {users['Ada']['token']}"}
                added = http.post("/api/v1/auths/add", json=person | {"role": "user"}, headers=admin)
            else:
                added = http.post("/api/v1/auths/signup", json=person)
            assert added.status_code == 200, added.text
            users[name] = added.json()
        known = server.services.store.add(
            users["Ada"]["id"], "Talk like a pirate: say arr, ye and matey.", scope="always"
        )
        texts = {}
        for name, user in users.items():
            headers = {"Authorization": f"Bearer {user['token']}"}
            (model,) = [
                m["id"] for m in http.get("/api/models", headers=headers).json()["data"] if "smollm2" in m["id"]
            ]
            asked = {
                "model": model,
                "messages": [{"role": "user", "content": "Tell me about the sea."}],
                "stream": False,
            }
            answer = http.post("/api/chat/completions", json=asked, headers=headers)
            assert answer.status_code == 200, answer.text
            texts[name] = answer.json()["choices"][0]["message"]["content"].lower()
        assert server.services.answers.uses(users["Ada"]["id"]).keys() == {known.id}
        assert server.services.answers.uses(users["Ben"]["id"]) == {}
        assert "arr" in texts["Ada"]
        assert "matey" not in texts["Ben"]
