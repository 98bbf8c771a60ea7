"""OIDC: signing in to the page by an OpenID Connect provider: code flow, PKCE and a nonce. The extra `oidc`."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from typing import Any, NamedTuple

import jwt
from starlette.concurrency import run_in_threadpool

from la_agents.errors import ConfigurationError
from la_agents.users import as_user_id
from la_agents_server.errors import ApiError
from la_agents_server.settings import Settings

__all__ = ["Oidc"]

_ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "EdDSA"]
_MAX_WAITING = 10_000
_WAIT_SECONDS = 600.0


class _Waiting(NamedTuple):
    """A sign-in that was sent to the provider and is not back yet."""

    verifier: str
    nonce: str
    until: float


class Oidc:
    """One provider.

    Raises:
        ConfigurationError: the extra is not installed, or the client's id is missing.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            from authlib.integrations.httpx_client import AsyncOAuth2Client
        except ImportError as error:
            msg = "Expected the extra for OIDC, got none; run `pip install 'la-agents-server[oidc]'`."
            raise ConfigurationError(msg) from error
        if settings.oidc_issuer is None or settings.oidc_client_id is None:
            msg = "Expected an OIDC issuer and a client id, got one without the other."
            raise ConfigurationError(msg)
        secret = settings.oidc_client_secret
        self._issuer = settings.oidc_issuer.rstrip("/")
        self._client_id = settings.oidc_client_id
        self._claim = settings.oidc_claim
        self._client: Any = lambda: AsyncOAuth2Client(
            self._client_id,
            None if secret is None else secret.get_secret_value(),
            token_endpoint_auth_method="none" if secret is None else "client_secret_basic",
            scope="openid",
            code_challenge_method="S256",
        )
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()

    async def begin(self, back: str) -> tuple[str, str]:
        """Where to send the browser, which comes back to `back`, and the state that it has to bring along."""
        state = secrets.token_urlsafe(32)
        waiting = _Waiting(secrets.token_urlsafe(48), secrets.token_urlsafe(32), time.monotonic() + _WAIT_SECONDS)
        async with self._client() as client:
            endpoint = (await self._provider(client))["authorization_endpoint"]
            url, _ = client.create_authorization_url(
                endpoint, state=state, code_verifier=waiting.verifier, nonce=waiting.nonce, redirect_uri=back
            )
        self._waiting[state] = waiting
        while len(self._waiting) > _MAX_WAITING:
            self._waiting.popitem(last=False)
        return str(url), state

    async def finish(self, code: str, state: str, back: str) -> str:
        """The user whom the provider names.

        Raises:
            ApiError: 403; this browser began no such sign-in, or the provider's word cannot be verified.
        """
        waiting = self._waiting.pop(state, None)
        if waiting is None or waiting.until < time.monotonic():
            raise _refused(what="another")
        async with self._client() as client:
            provider = await self._provider(client)
            try:
                token = await client.fetch_token(
                    provider["token_endpoint"], code=code, code_verifier=waiting.verifier, redirect_uri=back
                )
                claims = await run_in_threadpool(self._verified, provider["jwks_uri"], token["id_token"])
                if not secrets.compare_digest(str(claims.get("nonce", "")), waiting.nonce):
                    raise jwt.InvalidTokenError
                return as_user_id(claims[self._claim])
            except ApiError:
                raise
            except Exception as error:  # noqa: BLE001 - the provider's answers take any form
                raise _refused(what=type(error).__name__) from None

    async def _provider(self, client: Any) -> dict[str, Any]:
        """The provider's own description; it has to be the issuer's."""
        try:
            description = f"{self._issuer}/.well-known/openid-configuration"
            answer = await client.request("GET", description, withhold_token=True)
            answer.raise_for_status()
            known: dict[str, Any] = answer.json()
            if known["issuer"].rstrip("/") == self._issuer:
                return known
        except Exception as error:  # noqa: BLE001 - a network and a stranger's JSON fail in many ways
            msg = f"Expected the OIDC provider to answer, got {type(error).__name__}; try again, or use a key."
            raise ApiError(503, msg, code="provider_unavailable") from None
        msg = "Expected the configured OIDC issuer, got another."
        raise ApiError(503, msg, code="provider_unavailable")

    def _verified(self, jwks_uri: str, id_token: str) -> dict[str, Any]:
        key = jwt.PyJWKClient(jwks_uri, timeout=10).get_signing_key_from_jwt(id_token)
        claims: dict[str, Any] = jwt.decode(
            id_token,
            key,
            algorithms=_ALGORITHMS,
            audience=self._client_id,
            issuer=[self._issuer, f"{self._issuer}/"],
            options={"require": ["exp", "iat", "sub", "aud", "iss"]},
        )
        return claims


def _refused(what: str) -> ApiError:
    msg = f"Expected a user whom the provider vouches for, to this browser and lately, got {what}; sign in again."
    return ApiError(403, msg, code="not_signed_in")
