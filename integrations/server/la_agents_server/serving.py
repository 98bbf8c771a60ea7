"""Serving: the process around the application, from the first link to a graceful stop."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Mapping
from types import FrameType
from typing import Any, NamedTuple

import uvicorn
from fastapi import FastAPI

from la_agents import PreferenceStore
from la_agents_server.app import create_app
from la_agents_server.demo import fill
from la_agents_server.logs import log_as_json
from la_agents_server.services import Services
from la_agents_server.settings import Settings

__all__ = ["Address", "Server", "run"]


class Address(NamedTuple):
    """Where a server is reached."""

    host: str
    port: int
    scheme: str = "http"

    @property
    def url(self) -> str:
        """For a browser on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Server(uvicorn.Server):
    """Refuses new requests as soon as it is asked to stop; running answers may end within their time."""

    def __init__(self, application: FastAPI, address: Address, first_page: str | None = None) -> None:
        self._first_page = first_page
        self._services: Services = application.state.services
        super().__init__(
            uvicorn.Config(
                application,
                host=address.host,
                port=address.port,
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=self._services.settings.shutdown_seconds,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; then show a person at this screen what there is to see, if there is something."""
        await super().startup(sockets)
        if self._first_page is not None and _has_screen():
            threading.Thread(target=webbrowser.open, args=(self._first_page,), daemon=True).start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On a signal."""
        self._services.stopping = True
        super().handle_exit(sig, frame)


def run(
    location: str,
    settings: Settings,
    model: Mapping[str, Any],
    layers: tuple[str, ...],
    address: Address,
    *,
    log_level: str,
    demo: bool,
) -> None:
    """Serve until a signal comes."""
    os.environ["LANGSMITH_TRACING"] = os.environ["LANGCHAIN_TRACING_V2"] = "false"  # what users say stays here
    for sig in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises it again once all answers have ended
        signal.signal(sig, _leave)
    log_as_json(log_level)
    where = {"url": location} if location.startswith(("http://", "https://")) else {"path": location}
    with PreferenceStore(**where, layers=layers) as store:  # type: ignore[arg-type]
        application = create_app(store, settings, model=model)
        services: Services = application.state.services
        store.check_layers()
        services.chat.load()  # what is wrong is said here, in one line
        users = fill(store) if demo else ()
        links = [f"{address.url}/signin?token={services.sign_ins.link(user)}" for user in users]
        for user, link in zip(users, links, strict=True):
            print(f"Sign in as {user}, once: {link}", file=sys.stderr)
        if not services.sign_ins.had_admin():
            print(f"Sign in as the admin, once: {address.url}/signin?token={services.sign_ins.link()}", file=sys.stderr)
        Server(application, address, links[0] if demo else None).run()


def _has_screen() -> bool:
    """Whether somebody sits there: a browser in a terminal would take the server's own."""
    return sys.stderr.isatty() and (
        sys.platform in ("darwin", "win32") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())
    )


def _leave(sig: int, frame: FrameType | None) -> None:
    """End the process as if its work were done, so that what is open is closed."""
    sys.exit(0)
