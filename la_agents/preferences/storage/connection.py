"""A Chroma client from a folder, a URL or the caller, opened at first use, with this library's errors."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from la_agents.errors import ConfigurationError, StoreUnavailableError
from la_agents.preferences.storage.locks import FolderGate, FolderLocks, gate_of

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.client import Client

__all__ = ["Connection"]

_FOLDERS = FolderLocks()
_OPENING = threading.Lock()  # Chroma's table of open folders is not safe to fill from two threads


class Connection:
    """Opens and closes one client.

    Clients of one folder share Chroma's system within the process, so several stores may stand on one folder. Another
    process is kept out: two would corrupt the index.

    Args:
        path: Folder of an embedded Chroma; made when first used.
        url: `http://host[:8000]` or `https://host[:443]` of a Chroma server.
        client: A client of the caller's own, which stays open when this is closed.

    Raises:
        ConfigurationError: not exactly one of the three is given, or the URL is not of that form.
    """

    def __init__(self, path: str | Path | None = None, url: str | None = None, client: ClientAPI | None = None) -> None:
        given = [name for name, value in (("path", path), ("url", url), ("client", client)) if value is not None]
        if len(given) != 1:
            msg = f"Expected exactly one of path, url and client, got {' and '.join(given) or 'none'}."
            raise ConfigurationError(msg)
        self.folder = None if path is None else _checked_folder(path)
        self._server = None if url is None else _checked_server(url)
        self._client = client
        self._owned = client is None
        self._closed = False
        self._process = os.getpid()
        self._gate = FolderGate() if self.folder is None else gate_of(self.folder)
        self._lock = threading.Lock()
        self.location = str(self.folder or url or "the given client")

    def open(self) -> ClientAPI:
        """Return the client, connecting at the first call.

        Raises:
            StoreUnavailableError: closed already, not reachable, no Chroma folder, or open in another process.
        """
        if self._client is not None and self._process != os.getpid():  # Chroma's threads stayed behind; it would hang
            msg = (
                f"Expected the process that opened {self.location}, got a fork of it; make a store in each process, "
                "and let several processes use a server: PreferenceStore(url=...)."
            )
            raise StoreUnavailableError(msg)
        with self._gate.shared(), self._lock:
            if self._closed:
                msg = f"Expected an open store, got a closed one ({self.location}); make a new PreferenceStore."
                raise StoreUnavailableError(msg)
            if self._client is None:
                self._client = self._connect()
            return self._client

    def close(self) -> None:
        """Let go of the client; once more is harmless."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
        if client is not None and self._owned:
            with self._gate.shared(), _OPENING:
                cast("Client", client).close()
                if self.folder is not None:
                    _FOLDERS.release(self.folder)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what Chroma, the network and the disk raise into StoreUnavailableError, the cause chained.

        Every use of the client is within it: meanwhile nobody is `alone`.
        """
        import httpx
        from chromadb.errors import ChromaError

        try:
            with self._gate.shared():
                yield
        except (ChromaError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            msg = f"Expected the store at {self.location} to answer, got {type(error).__name__}: {error}"
            raise StoreUnavailableError(msg) from error

    def alone(self) -> AbstractContextManager[None]:
        """No other thread of this process uses the folder meanwhile, through whatever store; not within `errors`."""
        return self._gate.alone()

    def _connect(self) -> ClientAPI:
        self._process = os.getpid()
        import chromadb
        from chromadb.config import Settings

        settings = Settings(anonymized_telemetry=False)
        try:
            with self.errors(), _OPENING:
                if self._server is not None:
                    host, port, ssl = self._server
                    _check_heartbeat(host, port, ssl)
                    return chromadb.HttpClient(host, port, ssl=ssl, settings=settings)
                assert self.folder is not None  # one of the three was given
                _FOLDERS.hold(self.folder)
                try:
                    return chromadb.PersistentClient(str(self.folder), settings=settings)
                except BaseException:
                    _FOLDERS.release(self.folder)
                    raise
        except ValueError as error:  # Chroma's word for "no server" and for "open already, with other settings"
            msg = (
                f"Expected to open a store at {self.location}, got: {error}; start the server with "
                "`chroma run`, or give client= if this process has the folder open already."
            )
            raise StoreUnavailableError(msg) from error


def _checked_folder(path: str | Path) -> Path:
    if not str(path).strip():
        msg = "Expected path to name a folder, got blank text; name one, such as path='prefs'."
        raise ConfigurationError(msg)
    if "://" in str(path):
        msg = f"Expected path to name a folder, got {path!r}; a Chroma server is given as url=http://host:8000."
        raise ConfigurationError(msg)
    return Path(path).expanduser().resolve()  # one spelling a folder: Chroma shares its system by the text of it


def _checked_server(url: str) -> tuple[str, int, bool]:
    """Host, port and whether TLS is used."""
    msg = (
        f"Expected url to be like http://host:8000, got {url!r}; for a path, credentials or headers make a "
        "chromadb.HttpClient and give it as client=."
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(msg) from error
    extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("http", "https") or not parts.hostname or extra:
        raise ConfigurationError(msg)
    ssl = parts.scheme == "https"
    return parts.hostname, port or (443 if ssl else 8000), ssl


def _check_heartbeat(host: str, port: int, ssl: bool) -> None:
    """Make sure that Chroma listens there; on another server's answer its client raises a bare Exception."""
    import httpx

    name = f"[{host}]" if ":" in host else host
    httpx.get(f"http{'s' * ssl}://{name}:{port}/api/v2/heartbeat", timeout=10).raise_for_status()
