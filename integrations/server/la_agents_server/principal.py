"""Principal: whom a request comes from, and for which user it speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from starlette.datastructures import Headers

from la_agents.errors import UserNotSpecifiedError
from la_agents.users import as_user_id
from la_agents_server.errors import ApiError
from la_agents_server.keys import Key, KeyKind
from la_agents_server.sign_ins import Session
from la_agents_server.user_tokens import UserTokens

__all__ = ["Principal", "user_of"]

_NAME_HEADERS = ("x-la-user", "x-openwebui-user-id")
_TOKEN_HEADERS = ("x-la-user-token", "x-openwebui-user-jwt")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes:
        id: The key's or the session's, for the log.
        counted_as: What limits count: all sessions of a key count as that key, and other sessions as their user.
        kind: And the other attributes: see `Key`.
    """

    id: str
    counted_as: str
    kind: KeyKind
    user: str | None = None
    prefix: str = ""
    names_users: bool = False
    learns: bool = False
    requests_per_minute: int | None = None
    max_concurrent: int | None = None

    @classmethod
    def of_key(cls, key: Key) -> Principal:
        """Who asks with this key."""
        return cls(
            key.id,
            key.id,
            key.kind,
            key.user,
            key.prefix,
            key.names_users,
            key.learns,
            key.requests_per_minute,
            key.max_concurrent,
        )

    @classmethod
    def of_session(cls, session: Session, key: Key | None) -> Principal:
        """Who asks from this browser, with all that the key may which it signed in with, if it was one."""
        if key is not None:
            return replace(cls.of_key(key), id=session.id)
        return cls(session.id, f"{session.kind} {session.user}", session.kind, session.user)


def user_of(principal: Principal, headers: Headers, tokens: UserTokens, fields: Mapping[str, str | None]) -> str:
    """The user whom a request speaks for.

    Args:
        principal: Who asks.
        headers: The request's.
        tokens: Verifies signed user tokens.
        fields: What the body says, by the field's name, such as `user`.

    Raises:
        ApiError: nobody is named, or somebody whom the principal may not speak for.
    """
    if principal.kind == "admin":
        msg = "Expected the key of a user or an application, got an admin's, which speaks for nobody."
        raise ApiError(403, msg, code="admin_key")
    named = [(name, _as_text(value)) for name in _NAME_HEADERS for value in headers.getlist(name)]
    named += [(name, value) for name, value in fields.items() if value is not None]
    signed = [(name, tokens.user(value)) for name in _TOKEN_HEADERS for value in headers.getlist(name)]
    if principal.kind == "personal":
        if any(value != principal.user for _, value in (*named, *signed)):
            msg = "Expected the user whom this key belongs to, got another; leave the name out."
            raise ApiError(403, msg, code="wrong_user", param=_first_field(named))
        assert principal.user is not None
        return principal.user
    believed = signed or (named if principal.names_users else [])
    if not believed:
        if named:
            ways = ", ".join(dict(named))
            msg = (
                f"Expected the user's name in a signed token ({_TOKEN_HEADERS[0]}), got it by {ways}, which this key "
                "is not allowed to do."
            )
            raise ApiError(403, msg, code="user_not_proven", param=_first_field(named))
        msg = "Expected the user of this call, got none; name the user, as this application key is allowed to."
        raise ApiError(400, msg, code="user_not_specified")
    user = believed[0][1]
    if any(value != user for _, value in (*named, *signed)):
        msg = "Expected one user, got several that differ; name the user once."
        raise ApiError(403, msg, code="wrong_user", param=_first_field(named))
    try:
        user = as_user_id(user)
    except UserNotSpecifiedError as error:
        raise ApiError(400, str(error), code="user_not_specified", param=_first_field(named)) from None
    if not user.startswith(principal.prefix):
        msg = "Expected a user of this key's own, got one whose id does not begin with the key's prefix."
        raise ApiError(403, msg, code="wrong_user", param=_first_field(named))
    return user


def _as_text(value: str) -> str:
    """A header's value, which comes as Latin-1, as the UTF-8 that it is: a user has one name however it is given."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        msg = "Expected the user's name in a header to be UTF-8, got other bytes."
        raise ApiError(400, msg, code="user_not_specified") from None


def _first_field(named: Sequence[tuple[str, str]]) -> str | None:
    return next((name for name, _ in named if name not in _NAME_HEADERS), None)
