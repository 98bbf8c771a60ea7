"""User tokens: JWTs by which an application proves whom it speaks for."""

from __future__ import annotations

from typing import Any

import jwt

from la_agents.errors import ConfigurationError
from la_agents_server.errors import ApiError
from la_agents_server.settings import Settings

__all__ = ["UserTokens"]

_LEEWAY_SECONDS = 30


class UserTokens:
    """Verifies tokens signed by HS256 or RS256; each algorithm with its own key and no other.

    Raises:
        ConfigurationError: a key is unusable.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys: dict[str, Any] = {}
        if settings.jwt_secret is not None:
            secret = settings.jwt_secret.get_secret_value()
            if len(secret.encode()) < 32:
                msg = (
                    "Expected a JWT secret of at least 32 bytes, got a shorter one; make one by `openssl rand -hex 32`."
                )
                raise ConfigurationError(msg)
            self._keys["HS256"] = secret
        if settings.jwt_public_key is not None:
            try:
                self._keys["RS256"] = jwt.get_algorithm_by_name("RS256").prepare_key(settings.jwt_public_key)
            except (jwt.PyJWTError, ValueError, TypeError):
                msg = "Expected the PEM of an RSA public key for user tokens, got something else."
                raise ConfigurationError(msg) from None
        self._issuer, self._audience, self._claim = settings.jwt_issuer, settings.jwt_audience, settings.jwt_claim

    def user(self, token: str) -> str:
        """The user whom a token names.

        Raises:
            ApiError: 401; it is not valid here, now.
        """
        try:
            key = self._keys.get(jwt.get_unverified_header(token).get("alg", ""))
            if key is None:
                raise jwt.InvalidAlgorithmError
            claims = jwt.decode(
                token,
                key,
                algorithms=["HS256" if isinstance(key, str) else "RS256"],
                issuer=self._issuer,
                audience=self._audience,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", self._claim], "verify_aud": self._audience is not None},
            )
            user = claims[self._claim]
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            msg = (
                f"Expected a user token that is signed for this server and has not expired, got {type(error).__name__}."
            )
            raise ApiError(401, msg, code="invalid_user_token", headers={"WWW-Authenticate": "Bearer"}) from None
        if not isinstance(user, str):
            msg = f"Expected the claim {self._claim!r} of a user token to be text, got {type(user).__name__}."
            raise ApiError(401, msg, code="invalid_user_token", headers={"WWW-Authenticate": "Bearer"})
        return user
