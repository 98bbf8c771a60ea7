"""Who is let in, and for whom they may speak."""

from __future__ import annotations

import itertools
import re
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi.routing import APIRoute
from running import SECRET, Served, held, served, wait_until

from la_agents.errors import ConfigurationError, UserNotSpecifiedError
from la_agents_server import page
from la_agents_server.database import Database
from la_agents_server.guard import PUBLIC_PATHS
from la_agents_server.keys import Keys
from la_agents_server.routers import ROUTERS, health
from tests.tiny import tiny_model

CHAT: dict[str, Any] = {"model": "tiny-llama", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 1}
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC_PEM = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def routes() -> list[tuple[str, str]]:
    """Every method and path, with something in the place of each parameter."""
    found = [
        route
        for router in (health.router, *ROUTERS, *page.ROUTERS)
        for route in router.routes
        if isinstance(route, APIRoute)
    ]
    assert len(found) > 5
    paths = {route.path: re.sub(r"\{.*?\}", "x", route.path) for route in found}
    return [(method, paths[route.path]) for route in found for method in sorted(route.methods)]


def token(user: object, secret: Any = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + 7200} | claims, secret, algorithm)


@pytest.mark.parametrize(("method", "path"), [*routes(), ("GET", "/"), ("GET", "/openapi.json"), ("GET", "/nowhere")])
def test_nothing_but_the_public_paths_answers_without_a_key(tiny_server: Served, method: str, path: str) -> None:
    cases: list[dict[str, str]] = [{}, {"authorization": "Bearer la-" + "x" * 43}, {"authorization": "Basic eDp4"}]
    cases += [{"authorization": "Bearer"}, {"authorization": "Bearer \xff"}, {"cookie": "la_agents_session=x"}]
    for headers in cases:
        with tiny_server.http() as http:
            answer = http.request(method, path, headers=[(k.encode(), v.encode("latin-1")) for k, v in headers.items()])
        if path in PUBLIC_PATHS:
            assert answer.status_code != 401
        else:
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["x-request-id"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_key_that_is_revoked_or_expired_opens_nothing(tiny_server: Served) -> None:
    keys = tiny_server.services.keys
    key, text = keys.add("personal", user="alice", days=1e-9)
    revoked, other = keys.add("personal", user="alice")
    with tiny_server.http(other) as http:
        assert http.get("/v1/models").status_code == 200
        assert keys.get(revoked.id).last_used_at is not None  # type: ignore[union-attr]
        assert keys.revoke(revoked.id)
        assert http.get("/v1/models").status_code == 401
    with tiny_server.http(text) as http:
        assert http.get("/v1/models").status_code == 401
    assert not keys.revoke("key_none")
    assert keys.get(key.id).last_used_at is None  # type: ignore[union-attr]


def test_a_key_is_kept_as_its_digest_only(tmp_path: Path) -> None:
    path = tmp_path / "server.sqlite"
    database = Database(path)
    _, text = Keys(database).add("personal", user="alice")
    database.close()
    assert path.stat().st_mode & 0o077 == 0
    for file in tmp_path.iterdir():
        assert text[3:].encode() not in file.read_bytes()
    assert sqlite3.connect(path).execute("SELECT length(digest) FROM keys").fetchone() == (32,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "robot"},
        {"kind": "application", "user": "alice"},
        {"kind": "personal", "user": "alice", "prefix": "a"},
        {"kind": "admin", "names_users": True},
        {"kind": "admin", "learns": True},
        {"kind": "admin", "days": -1},
        {"kind": "application", "requests_per_minute": 0},
        {"kind": "application", "name": "x" * 300},
        {"kind": "application", "name": "\ud800"},
        {"kind": "application", "prefix": "a\nb"},
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(tmp_path: Path, wrong: dict[str, Any]) -> None:
    keys = Keys(Database(tmp_path / "server.sqlite"))
    with pytest.raises(ConfigurationError):
        keys.add(**wrong)
    with pytest.raises(UserNotSpecifiedError):
        keys.add("personal", user=" ")
    assert keys.list() == []


def asked(
    server: Served, key: str, fields: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> httpx.Response:
    with server.http(key) as http:
        return http.post("/v1/chat/completions", json=CHAT | (fields or {}), headers=headers or {})


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"user": "bob"}, {}),
        ({"safety_identifier": "bob"}, {}),
        ({"user": "alice", "safety_identifier": "bob"}, {}),
        ({}, {"x-la-user": "bob"}),
        ({}, {"x-openwebui-user-id": "bob"}),
        ({"user": ""}, {}),
        ({"user": "Alice"}, {}),
        ({"user": "alice "}, {}),
    ],
)
def test_a_personal_key_speaks_for_nobody_else(
    tiny_server: Served, fields: dict[str, str], headers: dict[str, str]
) -> None:
    key = tiny_server.key("alice")
    for named in (headers, {**headers, "x-la-user-token": token("bob")}):  # made now: tokens expire
        answer = asked(tiny_server, key, fields, named)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_user")
    alone = asked(tiny_server, key, {}, {"x-la-user-token": token("bob")})
    assert (alone.status_code, alone.json()["error"]["code"]) == (403, "wrong_user")
    same = {"user": "alice", "safety_identifier": "alice"}
    assert asked(tiny_server, key, same, {"x-la-user-token": token("alice")}).status_code == 200


def test_an_application_names_its_user_as_it_may(tiny_server: Served) -> None:
    trusted = tiny_server.application(names_users=True)
    strict = tiny_server.application()
    for ways in ({"fields": {"user": "u1"}}, {"headers": {"x-la-user": "u1"}}, {"fields": {"safety_identifier": "u1"}}):
        assert asked(tiny_server, trusted, **ways).status_code == 200
        refused = asked(tiny_server, strict, **ways)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "user_not_proven")
    for header in ("x-la-user-token", "x-openwebui-user-jwt"):
        assert asked(tiny_server, strict, headers={header: token("u1")}).status_code == 200
    nobody = asked(tiny_server, strict)
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (400, "user_not_specified")
    two = asked(tiny_server, trusted, {"user": "u2"}, {"x-la-user-token": token("u1")})
    assert (two.status_code, two.json()["error"]["code"]) == (403, "wrong_user")
    blank = asked(tiny_server, trusted, {"user": " "})
    assert (blank.status_code, blank.json()["error"]["code"]) == (400, "user_not_specified")


def test_a_user_is_one_however_the_name_comes(tiny_server: Served) -> None:
    user = "Jürgen 会"
    known = tiny_server.services.store.add(user, "Answer in French.", scope="always")
    trusted = tiny_server.application(names_users=True)
    ways = [({"user": user}, {}), ({}, {"x-la-user": user.encode()}), ({}, {"x-la-user-token": token(user).encode()})]
    for fields, headers in ways:
        with tiny_server.http(trusted) as http:
            sent = {name.encode(): value for name, value in headers.items()}
            answer = http.post("/v1/chat/completions", json=CHAT | fields, headers=sent).json()
        assert [each["id"] for each in answer["la_agents"]["alignment"]["principles"]] == [known.id]
    with tiny_server.http(trusted) as http:
        twice = http.post("/v1/chat/completions", json=CHAT, headers=[("x-la-user", "a"), ("x-la-user", "b")])
        assert (twice.status_code, twice.json()["error"]["code"]) == (403, "wrong_user")
        broken = http.post("/v1/chat/completions", json=CHAT, headers={b"x-la-user": b"b\xfcb"})
        assert (broken.status_code, broken.json()["error"]["code"]) == (400, "user_not_specified")


def test_a_personal_key_embeds_for_its_user_alone(tiny_server: Served) -> None:
    asked = {"model": "all-MiniLM-L6-v2", "input": "Hello."}
    with tiny_server.http(tiny_server.key("alice")) as http:
        for user, status in ((None, 200), ("alice", 200), ("bob", 403)):
            assert http.post("/v1/embeddings", json=asked | {"user": user}).status_code == status


def test_an_application_keeps_to_its_prefix(tiny_server: Served) -> None:
    key = tiny_server.application(names_users=True, prefix="rag:")
    assert asked(tiny_server, key, {"user": "rag:alice"}).status_code == 200
    for user in ("alice", "rag", "RAG:alice", " rag:alice"):
        assert asked(tiny_server, key, {"user": user}).status_code == 403
        assert asked(tiny_server, key, headers={"x-la-user-token": token(user)}).status_code == 403


def test_an_admin_speaks_for_nobody(tiny_server: Served) -> None:
    answer = asked(tiny_server, tiny_server.admin(), {"user": "alice"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "admin_key")


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param("", id="empty"),
        pytest.param("x", id="no token"),
        pytest.param("a.b.c", id="no JSON"),
        pytest.param(token("u1", "another secret that is long enough too"), id="another secret"),
        pytest.param(token("u1", exp=time.time() - 60), id="expired"),
        pytest.param(jwt.encode({"sub": "u1"}, SECRET, "HS256"), id="no end"),
        pytest.param(jwt.encode({"exp": time.time() + 36_000}, SECRET, "HS256"), id="no user"),
        pytest.param(token("u1", SECRET * 2, "HS512"), id="another algorithm"),
        pytest.param(jwt.encode({"sub": "u1", "exp": time.time() + 36_000}, None, "none"), id="unsigned"),
        pytest.param(token("u1", RSA_KEY, "RS256"), id="another kind of key"),
        pytest.param(token("u1", nbf=time.time() + 36_000), id="not yet valid"),
    ],
)
def test_a_user_token_that_proves_nothing_is_refused(tiny_server: Served, bad: str) -> None:
    answer = asked(tiny_server, tiny_server.application(names_users=True), {}, {"x-la-user-token": bad})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_user_token"
    assert len(bad) < 10 or bad not in answer.text


def test_tokens_by_a_public_key_with_issuer_and_audience(tmp_path: Path) -> None:
    rules = {
        "jwt_secret": None,
        "jwt_public_key": PUBLIC_PEM.decode(),
        "jwt_issuer": "https://id",
        "jwt_audience": "la",
    }
    with served(tmp_path, {"model": tiny_model("llama")}, **rules) as server:
        key = server.application()
        good = {"iss": "https://id", "aud": "la"}
        assert asked(server, key, headers={"x-la-user-token": token("u1", RSA_KEY, "RS256", **good)}).status_code == 200
        for wrong in ({"aud": "la"}, {"iss": "https://id"}, good | {"iss": "x"}, good | {"aud": "x"}):
            refused = asked(server, key, headers={"x-la-user-token": token("u1", RSA_KEY, "RS256", **wrong)})
            assert refused.status_code == 401
        confused = jwt.api_jws.PyJWS()
        forged = _signed_with_the_public_key(confused, good)
        assert asked(server, key, headers={"x-la-user-token": forged}).status_code == 401


def _signed_with_the_public_key(signer: jwt.api_jws.PyJWS, claims: dict[str, Any]) -> str:
    """HS256 with the public PEM as the secret, which PyJWT itself refuses to make."""
    import base64
    import hashlib
    import hmac
    import json

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    body = {"sub": "u1", "exp": time.time() + 60} | claims
    text = f"{part(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{part(json.dumps(body).encode())}"
    return f"{text}.{part(hmac.digest(PUBLIC_PEM, text.encode(), hashlib.sha256))}"


def test_limits_of_a_key(tmp_path: Path) -> None:
    with served(tmp_path, {"model": tiny_model("llama")}) as server:
        key = server.services.keys.add("personal", user="a", requests_per_minute=2)[1]
        with server.http(key) as http:
            answers = [http.get("/v1/models") for _ in range(4)]
            assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
            assert int(answers[-1].headers["retry-after"]) >= 1
            assert answers[-1].json()["error"]["code"] == "rate_limit_exceeded"
        single = server.services.keys.add("personal", user="b", max_concurrent=1)[1]
        with server.http(single) as http, server.http(single) as other:
            long = CHAT | {"max_tokens": 1_000, "stream": True}
            with http.stream("POST", "/v1/chat/completions", json=long) as answer:
                lines = answer.iter_lines()
                next(lines)
                refused = other.get("/v1/models")
                assert refused.status_code == 429
                assert refused.json()["error"]["code"] == "concurrency_limit_exceeded"
            for _ in itertools.repeat(None, 1_000):
                if (last := other.get("/v1/models").status_code) == 200:
                    break
                time.sleep(0.005)
            assert last == 200


def signed_in(server: Served, secret: str) -> httpx.Client:
    http = server.http()
    http.headers["sec-fetch-site"] = "same-origin"
    assert http.post("/signin", data={"secret": secret}).status_code == 303
    return http


def test_a_session_has_the_limits_of_its_key_and_shares_them(tmp_path: Path) -> None:
    with served(tmp_path, {"model": tiny_model("llama")}, requests_per_minute=4) as server:
        key = server.services.keys.add("personal", user="a", requests_per_minute=2)[1]
        ways = [server.http(key), signed_in(server, key), signed_in(server, key)]
        statuses = [way.get("/v1/models").status_code for way in ways]
        assert statuses == [200, 200, 429]
        generous = server.services.keys.add("personal", user="a", requests_per_minute=60)[1]
        browser = signed_in(server, generous)
        assert {browser.get("/v1/models").status_code for _ in range(10)} == {200}
        links = [signed_in(server, server.services.sign_ins.link("b")) for _ in range(3)]
        statuses = [way.get("/v1/models").status_code for way in links * 2]
        assert statuses == [200, 200, 200, 200, 429, 429]  # to sign in anew is no way around the limit
        admin = signed_in(server, server.services.sign_ins.link())
        assert admin.get("/v1/models").status_code == 200


def test_a_session_runs_no_more_at_a_time_than_its_key(tmp_path: Path) -> None:
    with served(tmp_path, {"model": tiny_model("llama")}) as server:
        key = server.services.keys.add("personal", user="a", max_concurrent=1)[1]
        browser = signed_in(server, key)
        asking = threading.Thread(target=browser.post, args=("/v1/chat/completions",), kwargs={"json": CHAT})
        with held(server.services.chat.engine):
            asking.start()
            wait_until(lambda: server.num_running == 1)
            refused = server.http(key).get("/v1/models")
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "concurrency_limit_exceeded")
        asking.join()
        assert browser.get("/v1/models").status_code == 200


def test_what_is_said_in_a_session_is_learned_as_its_key_says(tiny_server: Served) -> None:
    for learns in (True, False):
        user = f"session learns {learns}"
        text = tiny_server.services.keys.add("personal", user=user, learns=learns)[1]
        said = [{"role": "user", "content": "I'm allergic to peanuts. What can I cook?"}]
        answer = signed_in(tiny_server, text).post("/v1/chat/completions", json=CHAT | {"messages": said})
        assert answer.status_code == 200
        tiny_server.services.learner.submit([], user_id=user).result()  # all before it is done
        assert bool(tiny_server.services.store.proposals.list(user)) == learns


def test_a_body_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (
        served(tmp_path, {"model": tiny_model("llama")}, max_body_bytes=2_048) as server,
        server.http(server.key("a")) as http,
    ):
        small = http.post("/v1/chat/completions", content=b"x" * 2_048)
        large = http.post("/v1/chat/completions", content=b"x" * 2_049)
        chunked = http.post("/v1/chat/completions", content=iter([b"x" * 1_000] * 5))
        assert small.status_code == 400
        assert large.status_code == chunked.status_code == 413
        assert large.json()["error"]["code"] == "body_too_large"


def test_a_session_ends_with_the_key_that_began_it(tiny_server: Served) -> None:
    key, text = tiny_server.services.keys.add("personal", user="alice", days=1e-5)  # 0.9 s
    assert key.expires_at is not None
    with tiny_server.http() as http:
        http.headers["sec-fetch-site"] = "same-origin"
        assert http.post("/signin", data={"secret": text}).status_code == 303
        while time.time() <= key.expires_at:
            time.sleep(0.05)
        assert http.get("/v1/models").status_code == 401


def test_cookies_of_other_programs_on_this_host_do_not_hide_the_session(tiny_server: Served) -> None:
    with tiny_server.http() as http:
        http.headers["sec-fetch-site"] = "same-origin"
        http.post("/signin", data={"secret": tiny_server.services.sign_ins.link("alice")})
        session = http.cookies["la_agents_session"]
        for other in ('seen={"a": [1, 2]}', "a b=c", "=x", "x", 'q="unclosed', "é=ü"):
            cookie = f"{other}; la_agents_session={session}".encode()
            http.cookies.clear()
            assert http.get("/v1/models", headers={b"cookie": cookie}).status_code == 200


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", "https://a]b", "", "//"])
def test_an_origin_that_is_none_is_elsewhere(tiny_server: Served, origin: str) -> None:
    with tiny_server.http() as http:
        answer = http.post("/signin", data={"secret": "x"}, headers={"origin": origin})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site")


def test_hosts_are_allowed_as_people_write_them(tmp_path: Path) -> None:
    allowed = ("Prefs.Example.org", "fd00::5", "[::1]", "localhost")
    with (
        served(tmp_path, {"model": tiny_model("llama")}, allowed_hosts=allowed) as server,
        server.http(server.key("a")) as http,
    ):
        for host in ("prefs.example.org", "PREFS.example.ORG:443", "[fd00::5]", "[FD00::5]:8000", "[::1]:1"):
            assert http.get("/v1/models", headers={"host": host}).status_code == 200
        for host in ("example.org", "fd00", "[fd00::6]", "", ":80", "prefs.example.org.evil", "127.0.0.1"):
            assert http.get("/v1/models", headers={"host": host}).status_code == 421


def test_hosts_and_request_ids(tiny_server: Served) -> None:
    with tiny_server.http(tiny_server.key("a")) as http:
        assert http.get("/v1/models", headers={"host": "evil.example"}).status_code == 421
        assert http.get("/v1/models", headers={"host": "LOCALHOST:99"}).status_code == 200
        assert http.get("/v1/models", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
        assert http.get("/v1/models", headers={"x-request-id": "no spaces"}).headers["x-request-id"].startswith("req_")
        missing = http.get("/v1/nowhere")
        assert missing.status_code == 404
        assert missing.json()["error"]["type"] == "not_found_error"
        assert http.put("/v1/models").status_code == 405
        assert http.put("/v1/models").json()["error"]["message"]
