"""Signing in by a provider: a small one of our own on loopback, which can be told to lie."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI, Request
from running import Served, served

from tests.tiny import tiny_model

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Provider:
    """Knows one user, and what it says of them."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.key = KEY
        self.url = ""
        self.asked: dict[str, str] = {}
        self.app = FastAPI()
        self.app.get("/.well-known/openid-configuration")(self.described)
        self.app.get("/jwks")(self.jwks)
        self.app.post("/token")(self.token)

    def described(self) -> dict[str, str]:
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        return {"issuer": self.url} | {name: f"{self.url}/{path}" for name, path in names.items()}

    def jwks(self) -> dict[str, Any]:
        return {
            "keys": [json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": "1", "alg": "RS256"}]
        }

    async def token(self, request: Request) -> dict[str, Any]:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        challenge = hashlib.sha256(form["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(challenge).rstrip(b"=").decode() == self.asked["code_challenge"]
        assert request.headers["authorization"].startswith("Basic ")
        now, nonce = time.time(), self.asked["nonce"]
        claims = {"iss": self.url, "aud": "page", "sub": "alice", "iat": now, "exp": now + 60, "nonce": nonce}
        told = {name: value for name, value in (claims | self.claims).items() if value is not None}
        signed = jwt.encode(told, self.key, "RS256", {"kid": "1"})
        return {"access_token": "x", "token_type": "Bearer", "id_token": signed}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    listener = socket.create_server(("127.0.0.1", 0))
    provider.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(provider.app, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield provider
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture(scope="module")
def server(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    known = {"oidc_issuer": provider.url, "oidc_client_id": "page", "oidc_client_secret": "s"}
    with served(tmp_path_factory.mktemp("oidc"), {"model": tiny_model("llama")}, **known) as server:
        yield server


def sent(server: Served, provider: Provider) -> tuple[httpx.Client, str]:
    """A browser at the provider, and where the provider sends it back to."""
    browser = httpx.Client(base_url=server.url, headers={"accept": "text/html"})
    assert "/signin/oidc" in browser.get("/signin").text
    there = browser.get("/signin/oidc").headers["location"]
    assert there.startswith(f"{provider.url}/authorize?")
    provider.asked = {name: values[0] for name, values in parse_qs(urlsplit(there).query).items()}
    assert provider.asked["code_challenge_method"] == "S256"
    return browser, f"{provider.asked['redirect_uri']}?code=c&state={provider.asked['state']}"


def test_a_user_signs_in_by_a_provider(server: Served, provider: Provider) -> None:
    browser, back = sent(server, provider)
    answer = browser.get(back)
    assert answer.status_code == 200
    assert "SameSite=strict" in answer.headers["set-cookie"]
    server.services.store.add("alice", "I like tea.")
    assert "I like tea." in browser.get("/").text
    assert browser.get(back).status_code == 403  # once


@pytest.mark.parametrize(
    "lie",
    [
        {"aud": "another"},
        {"iss": "https://evil.example"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1},
        {"exp": None},
        {"sub": " "},
        {"sub": None},
    ],
)
def test_a_word_that_cannot_be_verified_signs_nobody_in(
    server: Served, provider: Provider, lie: dict[str, Any]
) -> None:
    provider.claims = lie
    try:
        browser, back = sent(server, provider)
        assert browser.get(back).status_code == 403
        assert browser.get("/").status_code == 303
    finally:
        provider.claims = {}


def test_a_word_that_another_key_signed_signs_nobody_in(server: Served, provider: Provider) -> None:
    provider.key = OTHER_KEY
    try:
        browser, back = sent(server, provider)
        assert browser.get(back).status_code == 403
    finally:
        provider.key = KEY


def test_another_browser_cannot_be_signed_in_by_ones_own_link(server: Served, provider: Provider) -> None:
    _, back = sent(server, provider)
    victim = httpx.Client(base_url=server.url, headers={"accept": "text/html"})
    assert victim.get(back).status_code == 403
    assert victim.get("/").status_code == 303


def test_a_provider_that_does_not_answer_is_an_error_with_a_status(tmp_path: Path) -> None:
    known = {"oidc_issuer": "http://127.0.0.1:9", "oidc_client_id": "page"}
    with served(tmp_path, {"model": tiny_model("llama")}, **known) as server, server.http() as http:
        assert http.get("/signin/oidc").status_code == 503
