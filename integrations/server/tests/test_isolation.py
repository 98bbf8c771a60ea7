"""Whoever asks, by whatever way of naming a user, for whatever endpoint: another user's words never come back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from running import Served
from test_access import token

SECRET = "My secret is a purple walrus named Zebedee."
VICTIM = "isolation victim"


@pytest.fixture(scope="module")
def victim(tiny_server: Served) -> Iterator[dict[str, str]]:
    """Somebody with a preference, a proposal, a forgotten one and an answer."""
    store = tiny_server.services.store
    kept = store.add(VICTIM, SECRET, scope="always")
    gone = store.add(VICTIM, f"{SECRET} It is gone.", consolidate=False)
    store.forget(VICTIM, gone.id)
    (proposed,) = store.proposals.add(VICTIM, [f"{SECRET} Perhaps."])
    with tiny_server.http(tiny_server.key(VICTIM)) as http:
        asked = {"model": "tiny-llama", "messages": [{"role": "user", "content": "Hello."}]}
        answer = http.post("/v1/chat/completions", json=asked).json()["id"]
    before = store.list(VICTIM), store.archive(VICTIM), store.proposals.list(VICTIM)
    yield {"kept": kept.id, "gone": gone.id, "proposed": proposed.id, "answer": answer}
    assert (store.list(VICTIM), store.archive(VICTIM), store.proposals.list(VICTIM)) == before


def ways_of_naming(user: str) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Fields and headers."""
    return [
        ({}, {}),
        ({"user": user}, {}),
        ({"safety_identifier": user}, {}),
        ({}, {"x-la-user": user}),
        ({}, {"x-openwebui-user-id": user}),
        ({}, {"x-la-user-token": token(user, "a secret of somebody else, long enough")}),
        ({}, {"x-openwebui-user-jwt": token(user, "a secret of somebody else, long enough")}),
        ({"la_agents": {"explain": True, "user_id": user}}, {}),
        ({"metadata": {"user_id": user}, "configurable": {"user_id": user}}, {}),
    ]


def requests(victim: dict[str, str], fields: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any] | None]]:
    """Every endpoint that could give something away."""
    explained = {"la_agents": {"explain": True}} | fields
    yield (
        "POST",
        "/v1/chat/completions",
        {"model": "tiny-llama", "messages": [{"role": "user", "content": SECRET}]} | explained,
    )
    yield "POST", "/v1/completions", {"model": "tiny-llama", "prompt": "Zebedee"} | explained
    yield "POST", "/v1/responses", {"model": "tiny-llama", "input": "Zebedee"} | explained
    for query in (
        "",
        "?state=all",
        "?state=pending",
        "?state=forgotten",
        f"?after={victim['kept']}",
        "?user=" + VICTIM,
    ):
        yield "GET", f"/v1/preferences{query}", None
    yield "GET", "/v1/preferences/export", None
    yield "POST", "/v1/preferences/search", {"query": "What is the name of the purple walrus?"}
    yield "POST", "/v1/feedback", {"answer": victim["answer"], "score": -1}
    for id in (victim["kept"], victim["gone"], victim["proposed"]):
        for method, path, body in (
            ("GET", "", None),
            ("GET", "/history", None),
            ("PATCH", "", {"weight": 0}),
            ("DELETE", "", None),
            ("POST", "/undo", None),
            ("POST", "/approve", None),
            ("POST", "/reject", None),
        ):
            yield method, f"/v1/preferences/{id}{path}", body
        yield "GET", f"/memory/{id}", None
        yield "POST", f"/memory/{id}/forget", None
    for path in ("/", "/?q=walrus", "/data", "/shared", "/keys", "/metrics", "/v1/admin/keys", "/openapi.json"):
        yield "GET", path, None


def reveals(answer: httpx.Response) -> bool:
    """Whether the walrus is in it, but for a request's own words."""
    return "Zebedee" in answer.text or "walrus" in answer.text.replace("/?q=walrus", "").replace('value="walrus"', "")


@pytest.mark.parametrize(
    "kind", ["personal", "application", "trusted application", "prefixed application", "admin", "browser"]
)
def test_nobody_gets_at_anothers_memory(tiny_server: Served, victim: dict[str, str], kind: str) -> None:
    client = tiny_server.http()
    if kind == "browser":
        client.headers["sec-fetch-site"] = "same-origin"
        client.post("/signin", data={"secret": tiny_server.services.sign_ins.link("mallory")})
    else:
        key = {
            "personal": lambda: tiny_server.key("mallory"),
            "application": lambda: tiny_server.application(),
            "trusted application": lambda: tiny_server.application(names_users=True, prefix="mallory:"),
            "prefixed application": lambda: tiny_server.application(prefix="mallory:"),
            "admin": tiny_server.admin,
        }[kind]()
        client.headers["authorization"] = f"Bearer {key}"
    num_requests = 0
    try:
        for fields, headers in ways_of_naming(VICTIM):
            for method, path, body in requests(victim, fields):
                content = None if body is None else json.dumps(body)
                typed = {"content-type": "application/json"} if body is not None else {}
                answer = client.request(method, path, content=content, headers=headers | typed)
                assert answer.status_code < 500, (method, path, answer.text)
                assert not reveals(answer), (method, path, fields, headers, answer.text[:500])
                num_requests += 1
    finally:
        client.close()
    assert num_requests > 300
