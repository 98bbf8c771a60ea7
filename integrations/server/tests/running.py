"""A real server on loopback, in a thread, for the tests that talk to it as clients do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from la_agents import PreferenceStore
from la_agents_server import Settings, create_app
from la_agents_server.services import Services

if TYPE_CHECKING:
    from la_agents.engine.engine import Engine

SECRET = "a shared secret that is long enough to sign"


@dataclass
class Served:
    """A server that runs."""

    url: str
    services: Services

    def key(self, user: str) -> str:
        """A new personal key."""
        return self.services.keys.add("personal", user=user)[1]

    def application(self, **options: Any) -> str:
        """A new application key."""
        return self.services.keys.add("application", **options)[1]

    def admin(self) -> str:
        """A new admin key."""
        return self.services.keys.add("admin")[1]

    def http(self, key: str | None = None, **options: Any) -> httpx.Client:
        """A client that sends this key."""
        http = httpx.Client(base_url=self.url, timeout=120, **options)
        if key is not None:
            http.headers["Authorization"] = f"Bearer {key}"
        return http

    @property
    def num_running(self) -> int:
        """Requests that are being answered."""
        return sum(bucket.running for bucket in [*self.services.rates._buckets.values()])


@contextmanager
def served(folder: Path, model: dict[str, Any], layers: tuple[str, ...] = (), **settings: Any) -> Iterator[Served]:
    """Serve this model with a fresh store in this folder."""
    with PreferenceStore(path=folder / "prefs", layers=layers) as store:
        known = Settings(**{"database": folder / "server.sqlite", "jwt_secret": SECRET, **settings})
        app = create_app(store, known, model=model)
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        try:
            yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", app.state.services)
        finally:
            server.should_exit = True
            thread.join(30)
            listener.close()


@contextmanager
def held(engine: Engine) -> Iterator[None]:
    """Let an engine end the step that it is in, and begin no other."""
    with engine._worker.queueing():
        yield


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(20_000):
        if holds():
            return
        time.sleep(0.001)
    pytest.fail("it never came to be")
