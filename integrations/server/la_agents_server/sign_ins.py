"""Signing in to the page: links that work once, and the sessions that they begin."""

from __future__ import annotations

import secrets
import time
from typing import NamedTuple

from la_agents.errors import ConfigurationError
from la_agents.users import as_user_id
from la_agents_server.database import Database
from la_agents_server.keys import Key, KeyKind, digest, new_secret

__all__ = ["Session", "SignIns"]


class Session(NamedTuple):
    """A browser that is signed in."""

    id: str
    kind: KeyKind
    user: str | None
    key_id: str | None


class SignIns:
    """The links and sessions of a server."""

    def __init__(self, database: Database, session_days: float) -> None:
        self._database = database
        self._session_seconds = session_days * 86_400

    def link(self, user: object = None, *, hours: float = 24.0) -> str:
        """Make the secret part of a link that signs this user in, once; without a user the admin."""
        self._database.write("DELETE FROM links WHERE expires_at < ?", [time.time()])
        kind = "admin" if user is None else "personal"
        named = None if user is None else as_user_id(user)
        if not 0 < hours <= 24 * 30:
            msg = f"Expected a link to last up to 30 days, got {hours} hours."
            raise ConfigurationError(msg)
        text = new_secret()
        values = [digest(text), kind, named, time.time() + hours * 3_600]
        self._database.write("INSERT INTO links (digest, kind, user, expires_at) VALUES (?, ?, ?, ?)", values)
        return text

    def redeem(self, text: str) -> str | None:
        """Begin a session by a link's secret, which is then used up; None if it is none, or too old."""
        rows = self._database.rows("SELECT * FROM links WHERE digest = ?", [digest(text)])
        if not rows or not self._database.write("DELETE FROM links WHERE digest = ?", [digest(text)]):
            return None  # or another request has just used it up
        if rows[0]["expires_at"] < time.time():
            return None
        return self._begin(rows[0]["kind"], rows[0]["user"])

    def begin(self, key: Key) -> str | None:
        """Begin a session by a personal or an admin key; an application has no page."""
        return None if key.kind == "application" else self._begin(key.kind, key.user, key)

    def begin_for(self, user: str) -> str:
        """Begin a session of a user whom a provider has vouched for."""
        return self._begin("personal", user)

    def _begin(self, kind: str, user: str | None, key: Key | None = None) -> str:
        """A session ends no later than the key that began it."""
        now, text = time.time(), new_secret()
        self._database.write("DELETE FROM sessions WHERE expires_at < ?", [now])
        ends = now + self._session_seconds
        if key is not None and key.expires_at is not None:
            ends = min(ends, key.expires_at)
        values = [
            f"session_{secrets.token_hex(8)}",
            digest(text),
            kind,
            user,
            None if key is None else key.id,
            now,
            ends,
        ]
        columns = "id, digest, kind, user, key_id, created_at, expires_at"
        self._database.write(f"INSERT INTO sessions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        return text

    def find(self, text: str) -> Session | None:
        """Return the session of a cookie."""
        rows = self._database.rows("SELECT * FROM sessions WHERE digest = ?", [digest(text)])
        if not rows or rows[0]["expires_at"] < time.time():
            return None
        return Session(rows[0]["id"], rows[0]["kind"], rows[0]["user"], rows[0]["key_id"])

    def end(self, text: str) -> None:
        """Sign a browser out."""
        self._database.write("DELETE FROM sessions WHERE digest = ?", [digest(text)])

    def had_admin(self) -> bool:
        """Whether an admin key or session was ever made and is there."""
        sql = "SELECT 1 FROM keys WHERE kind = 'admin' UNION ALL SELECT 1 FROM sessions WHERE kind = 'admin' LIMIT 1"
        return bool(self._database.rows(sql))
