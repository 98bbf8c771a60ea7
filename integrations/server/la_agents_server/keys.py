"""Keys: who may ask. A key is 256 random bits, shown once and stored as its SHA-256 digest."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
import unicodedata
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from la_agents.errors import ConfigurationError
from la_agents.users import as_user_id
from la_agents_server.database import Database

__all__ = ["Key", "KeyKind", "Keys", "digest", "new_secret"]

KeyKind = Literal["personal", "application", "admin"]
"""`personal`: speaks for one user. `application`: names the user of each call. `admin`: manages, and reads nobody."""

_FORM = re.compile(r"la-[A-Za-z0-9_-]{43}")
_NOTE_SECONDS = 60.0


class Key(BaseModel):
    """What is known about a key; the key itself is not.

    Attributes:
        id: How it is listed and revoked.
        kind: What it may do.
        name: The application's name, or a note.
        user: The user of a personal key.
        prefix: An application key's users begin so.
        names_users: Whether an application key's `user` field and header are believed without a signed token.
        learns: Whether what users say through it is read for preferences, which then wait for their approval.
        requests_per_minute: Its own limit; None for the server's.
        max_concurrent: Its own limit; None for the server's.
        created_at: Seconds since 1970, as the other times.
        expires_at: None for never.
        revoked_at: None while it stands.
        last_used_at: To the minute; None for never.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    kind: KeyKind
    name: str = ""
    user: str | None = None
    prefix: str = ""
    names_users: bool = False
    learns: bool = False
    requests_per_minute: int | None = None
    max_concurrent: int | None = None
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None

    def stands(self, now: float) -> bool:
        """Whether it is accepted at that time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def is_unnoted(self) -> bool:
        """Whether it was last noted as used so long ago that this is to be done again."""
        return self.last_used_at is None or time.time() - self.last_used_at > _NOTE_SECONDS


class Keys:
    """The keys of a server."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        kind: KeyKind,
        *,
        user: object = None,
        name: str = "",
        prefix: str = "",
        names_users: bool = False,
        learns: bool = False,
        days: float | None = None,
        requests_per_minute: int | None = None,
        max_concurrent: int | None = None,
    ) -> tuple[Key, str]:
        """Make a key, and return what is known about it and the key itself, which cannot be had again.

        Raises:
            ConfigurationError: the arguments contradict the kind, or are out of range.
            UserNotSpecifiedError: a personal key names no valid user.
        """
        if kind not in get_args(KeyKind):
            msg = f"Expected a key's kind to be one of {', '.join(get_args(KeyKind))}, got {kind!r}."
            raise ConfigurationError(msg)
        if kind != "application" and (prefix or names_users):
            msg = f"Expected a prefix, and users named by field, for application keys only, got a key of kind {kind}."
            raise ConfigurationError(msg)
        if kind != "personal" and user is not None:
            msg = f"Expected a user for personal keys only, got one for a key of kind {kind}."
            raise ConfigurationError(msg)
        if kind == "admin" and learns:
            msg = "Expected a key that answers users to learn from, got an admin's."
            raise ConfigurationError(msg)
        for limit in (days, requests_per_minute, max_concurrent):
            if limit is not None and not 0 < limit < 1e6:
                msg = f"Expected a key's days and limits to be above 0 and below a million, got {limit}."
                raise ConfigurationError(msg)
        if max(len(name), len(prefix)) > 200 or any(unicodedata.category(c) in ("Cc", "Cs") for c in name + prefix):
            msg = "Expected a key's name and prefix of at most 200 characters, none of them a control character."
            raise ConfigurationError(msg)
        now = time.time()
        text = f"la-{new_secret()}"
        key = Key(
            id=f"key_{secrets.token_hex(8)}",
            kind=kind,
            name=name,
            user=as_user_id(user) if kind == "personal" else None,
            prefix=prefix,
            names_users=names_users,
            learns=learns,
            requests_per_minute=requests_per_minute,
            max_concurrent=max_concurrent,
            created_at=now,
            expires_at=None if days is None else now + days * 86_400,
        )
        values = key.model_dump() | {"digest": digest(text)}
        columns, places = ", ".join(values), ", ".join("?" * len(values))
        self._database.write(f"INSERT INTO keys ({columns}) VALUES ({places})", [*values.values()])
        return key, text

    def list(self) -> list[Key]:
        """Return all keys, the oldest first."""
        return [Key(**row) for row in self._database.rows("SELECT * FROM keys ORDER BY created_at, id")]

    def get(self, id: str) -> Key | None:
        """Return the key of this id."""
        rows = self._database.rows("SELECT * FROM keys WHERE id = ?", [id])
        return Key(**rows[0]) if rows else None

    def find(self, text: str) -> Key | None:
        """Return the key that this is, if it stands."""
        if not _FORM.fullmatch(text):
            return None
        rows = self._database.rows("SELECT * FROM keys WHERE digest = ?", [digest(text)])
        key = Key(**rows[0]) if rows else None
        return key if key is not None and key.stands(time.time()) else None

    def revoke(self, id: str) -> bool:
        """Let a key, and the sessions that it began, be accepted no more; return whether there is such a key."""
        found = self._database.write(
            "UPDATE keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?", [time.time(), id]
        )
        self._database.write("DELETE FROM sessions WHERE key_id = ?", [id])
        return found > 0

    def touch(self, key: Key) -> None:
        """Note that it was used now."""
        self._database.write("UPDATE keys SET last_used_at = ? WHERE id = ?", [time.time(), key.id])


def new_secret() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(32)


def digest(text: str) -> bytes:
    """What is stored of a secret; enough for one that nobody can guess."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
