from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from running import Served, served

from la_agents import PreferenceStore
from tests.tiny import tiny_model


@pytest.fixture
def http(tiny_server: Served, request: pytest.FixtureRequest) -> httpx.Client:
    """A client of a user of its own."""
    return tiny_server.http(tiny_server.key(request.node.name))


def add(http: httpx.Client, text: str, **options: Any) -> dict[str, Any]:
    answer = http.post("/v1/preferences", json={"text": text, **options})
    assert answer.status_code == 201, answer.text
    known: dict[str, Any] = answer.json()
    return known


def test_a_preference_is_added_changed_forgotten_and_brought_back(http: httpx.Client) -> None:
    tea = add(http, "I like tea.", weight=2, metadata={"from": "test"})
    assert (tea["state"], tea["source"], tea["weight"]) == ("active", "explicit", 2.0)
    assert tea["metadata"] == {"from": "test"}
    assert "user_id" not in tea
    path = f"/v1/preferences/{tea['id']}"
    until = "2100-01-01T00:00:00Z"
    changed = http.patch(path, json={"text": "I like green tea.", "expires_at": until}).json()
    assert (changed["text"], changed["weight"], changed["expires_at"]) == ("I like green tea.", 2.0, until)
    assert http.patch(path, json={"expires_at": None}).json()["expires_at"] is None
    assert http.delete(path).json()["state"] == "forgotten"
    assert http.get("/v1/preferences").json()["data"] == []
    assert [p["id"] for p in http.get("/v1/preferences?state=forgotten").json()["data"]] == [tea["id"]]
    (back,) = http.post(f"{path}/undo").json()["data"]
    assert (back["state"], back["text"]) == ("active", "I like green tea.")
    history = http.get(f"{path}/history").json()["data"]
    assert [change["kind"] for change in history] == ["added", "updated", "updated", "forgotten", "undone"]
    assert history[1]["before"]["text"] == "I like tea."


def test_a_list_has_pages_and_filters(http: httpx.Client) -> None:
    texts = [f"I collect stamps of the year {1900 + i}." for i in range(5)]
    ids = [
        add(http, text, consolidate=False, scope="always" if i % 2 else "relevant")["id"]
        for i, text in enumerate(texts)
    ]
    first = http.get("/v1/preferences?limit=3").json()
    rest = http.get(f"/v1/preferences?limit=3&after={first['last_id']}").json()
    assert [p["id"] for p in first["data"] + rest["data"]] == ids
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert [p["id"] for p in http.get("/v1/preferences?scope=always").json()["data"]] == ids[1::2]
    assert http.get("/v1/preferences?source=inferred").json()["data"] == []
    assert http.get("/v1/preferences?as_of=2000-01-01T00:00:00Z").json()["data"] == []
    assert http.get("/v1/preferences?after=none").status_code == 404
    for wrong in ("state=x", "limit=0", "limit=5000", "as_of=yesterday", "as_of=2000-01-01T00:00:00", "scope=x"):
        assert http.get(f"/v1/preferences?{wrong}").status_code == 400


def test_a_question_shows_what_it_would_use(http: httpx.Client) -> None:
    always = add(http, "Answer in French.", scope="always")
    diet = add(http, "I do not eat meat.")
    found = http.post("/v1/preferences/search", json={"query": "Which dish with meat could I eat?"}).json()["data"]
    assert [(each["preference"]["id"], each["layer"]) for each in found] == [
        (always["id"], "user"),
        (diet["id"], "user"),
    ]
    assert found[0]["relevance"] is None
    assert 0 < found[1]["relevance"] <= 1
    early = {"query": "Which dish could I eat?", "as_of": "2000-01-01T00:00:00Z"}
    assert http.post("/v1/preferences/search", json=early).json()["data"] == []


def test_proposals_wait_for_their_users_word(
    tiny_server: Served, http: httpx.Client, request: pytest.FixtureRequest
) -> None:
    proposals = tiny_server.services.store.proposals
    jazz, opera = proposals.add(request.node.name, ["I love jazz.", "I hate opera."])
    assert {p["id"] for p in http.get("/v1/preferences?state=pending").json()["data"]} == {jazz.id, opera.id}
    assert http.post(f"/v1/preferences/{jazz.id}/approve").json()["state"] == "active"
    assert http.post(f"/v1/preferences/{opera.id}/reject").json()["state"] == "rejected"
    assert http.get("/v1/preferences?state=pending").json()["data"] == []
    assert http.post(f"/v1/preferences/{opera.id}/reject").status_code == 409
    assert len(http.get("/v1/preferences?state=all").json()["data"]) == 2


def test_possible_conflicts_are_shown_and_decided(http: httpx.Client) -> None:
    coffee = add(http, "I drink coffee every morning.")
    tea = add(http, "In the morning I mostly drink coffee or tea.")
    (pair,) = http.get("/v1/preferences/conflicts").json()["data"]
    assert (pair["older"]["id"], pair["newer"]["id"]) == (coffee["id"], tea["id"])
    decision = {"older": coffee["id"], "newer": tea["id"], "keep": "newer"}
    assert http.post("/v1/preferences/conflicts/decide", json=decision | {"keep": "none"}).status_code == 400
    assert http.post("/v1/preferences/conflicts/decide", json=decision | {"older": "other"}).status_code == 404
    different = http.post("/v1/preferences/conflicts/decide", json=decision).json()["data"]
    assert (coffee["id"], "superseded") in [(each["id"], each["state"]) for each in different]
    assert http.get("/v1/preferences/conflicts").json()["data"] == []


def test_what_is_to_be_changed_has_to_be_in_a_state_for_it(http: httpx.Client) -> None:
    path = f"/v1/preferences/{add(http, 'I like tea.')['id']}"
    assert http.post(f"{path}/approve").json()["error"]["code"] == "not_in_this_state"
    assert http.delete(path).status_code == 200
    assert http.delete(path).status_code == http.patch(path, json={"weight": 2}).status_code == 409


def test_an_export_can_be_imported_and_erased(tiny_server: Served, http: httpx.Client) -> None:
    tea = add(http, "I like tea. 🍵")
    exported = http.get("/v1/preferences/export")
    assert exported.headers["content-type"].startswith("application/x-ndjson")
    with tiny_server.http(tiny_server.key("import-er")) as other:
        other.delete("/v1/preferences")
        imported = other.post("/v1/preferences/import", content=exported.content)
        assert imported.json() == {"object": "import", "imported": 1}
        assert other.get(f"/v1/preferences/{tea['id']}").json()["text"] == "I like tea. 🍵"
        assert other.delete("/v1/preferences").json()["erased"] == 1
        assert other.get("/v1/preferences?state=all").json()["data"] == []
        for bad in (b"\xff", b"{", b'{"text": ""}', b'{"text": "x", "weight": -1}', b'{"txt": "x"}'):
            refused = other.post("/v1/preferences/import", content=bad)
            assert refused.status_code == 400, refused.text
    assert http.get(f"/v1/preferences/{tea['id']}").status_code == 200


def test_a_rating_moves_what_the_answer_used(tiny_server: Served, http: httpx.Client) -> None:
    short = add(http, "Keep it short.", scope="always")
    assert short["use"] is None
    asked = {"model": "tiny-llama", "messages": [{"role": "user", "content": "Hello."}]}
    answer = http.post("/v1/chat/completions", json=asked).json()
    rated = http.post("/v1/feedback", json={"answer": answer["id"], "score": 1, "comment": "I prefer bullet points."})
    body = rated.json()
    assert rated.status_code == 200, body
    assert [p["id"] for p in body["changed"]] == [short["id"]]
    assert body["changed"][0]["weight"] > 1
    assert len(body["proposed"]) == 1
    use = http.get(f"/v1/preferences/{short['id']}").json()["use"]
    assert use["number"] == 1
    assert use["moved"] == pytest.approx(answer["la_agents"]["alignment"]["branches"][0]["contribution"])
    with tiny_server.http(tiny_server.key("somebody else")) as other:
        theirs = other.post("/v1/feedback", json={"answer": answer["id"], "score": 1})
        nobodys = other.post("/v1/feedback", json={"answer": "chatcmpl-none", "score": 1})
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.json() == nobodys.json()
    http.delete("/v1/preferences")
    assert http.post("/v1/feedback", json={"answer": answer["id"], "score": 1}).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": ""},
        {"text": " \n"},
        {"text": "x" * 2_001},
        {"text": 5},
        {"text": "\ud800"},
        {"text": "x", "weight": -1},
        {"text": "x", "weight": 11},
        {"text": "x", "scope": "sometimes"},
        {"text": "x", "expires_at": "tomorrow"},
        {"text": "x", "expires_at": "2100-01-01T00:00:00"},
        {"text": "x", "half_life_days": 0},
        {"text": "x", "source": "inferred"},
        {"text": "x", "metadata": []},
        {"text": "x", "user": "bob"},
        {},
    ],
)
def test_what_is_no_preference_is_refused(http: httpx.Client, wrong: dict[str, Any]) -> None:
    answer = http.post("/v1/preferences", content=json.dumps(wrong), headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert http.get("/v1/preferences?state=all").json()["data"] == []


def test_what_is_not_there_is_not_found_whoever_has_it(tiny_server: Served, http: httpx.Client) -> None:
    mine = add(http, "I like tea.")["id"]
    with tiny_server.http(tiny_server.key("another")) as other:
        for method, path in (
            ("GET", ""),
            ("PATCH", ""),
            ("DELETE", ""),
            ("GET", "/history"),
            ("POST", "/undo"),
            ("POST", "/approve"),
            ("POST", "/reject"),
        ):
            body = {"weight": 2} if method == "PATCH" else None
            theirs = other.request(method, f"/v1/preferences/{mine}{path}", json=body)
            nobodys = other.request(method, f"/v1/preferences/0123456789abcdef{path}", json=body)
            assert theirs.status_code == nobodys.status_code == 404
            assert theirs.json() == nobodys.json()
            assert theirs.json()["error"]["code"] == "not_found"
    assert http.get(f"/v1/preferences/{mine}").json()["num_said"] == 1


def test_nothing_to_change_is_a_bad_request_and_nothing_to_undo_a_conflict(http: httpx.Client) -> None:
    id = add(http, "I like tea.")["id"]
    assert http.patch(f"/v1/preferences/{id}", json={}).status_code == 400
    assert http.patch(f"/v1/preferences/{id}", json={"text": None}).status_code == 400
    assert http.patch(f"/v1/preferences/{id}", json={"scope": None}).status_code == 400
    assert http.post(f"/v1/preferences/{id}/undo").status_code == 409
    decision = {"older": id, "newer": id, "keep": "both"}
    assert http.post("/v1/preferences/conflicts/decide", json=decision).status_code == 404


def test_layers_are_shown_to_all_and_changed_by_admins(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("layers")
    with PreferenceStore(path=folder / "prefs") as store:
        store.shared("acme").add("Never give legal advice.", scope="always", locked=True)
    with served(folder, {"model": tiny_model("llama")}, ("acme",)) as server:  # noqa: SIM117
        with server.http(server.key("alice")) as user, server.http(server.admin()) as admin:
            (layer,) = user.get("/v1/layers").json()["data"]
            assert (layer["name"], layer["preferences"][0]["locked"]) == ("acme", True)
            path = "/v1/admin/layers/acme/preferences"
            draft = {"text": "Be kind.", "locked": False}
            assert user.post(path, json=draft).status_code == 403
            added = admin.post(path, json=draft)
            assert added.status_code == 201
            assert admin.post("/v1/admin/layers/other/preferences", json=draft).status_code == 404
            (layer,) = user.get("/v1/layers").json()["data"]
            assert len(layer["preferences"]) == 2
            assert user.delete(f"{path}/{added.json()['id']}").status_code == 403
            assert admin.delete(f"{path}/{added.json()['id']}").status_code == 200
            assert admin.delete(f"{path}/{added.json()['id']}").status_code == 404
            found = user.post("/v1/preferences/search", json={"query": "x"}).json()["data"]
            assert [each["layer"] for each in found] == ["acme"]
            user.post("/v1/preferences", json={"text": "A secret about me."})
            assert user.delete("/v1/preferences").json()["erased"] == 1
            assert user.post("/v1/admin/purge").status_code == 403
            receipt = admin.post("/v1/admin/purge").json()
            assert receipt["num_kept"] == 2
            assert receipt["num_gone"] >= 1


def test_admins_manage_keys_and_read_nobodys_preferences(tiny_server: Served) -> None:
    with tiny_server.http(tiny_server.admin()) as admin:
        made = admin.post("/v1/admin/keys", json={"kind": "personal", "user": "carol", "days": 30}).json()
        assert made["user"] == "carol"
        with tiny_server.http(made["key"]) as carol:
            assert carol.get("/v1/preferences").status_code == 200
            assert carol.get("/v1/admin/keys").status_code == 403
            assert carol.get("/metrics").status_code == 403
            listed = admin.get("/v1/admin/keys")
            assert made["id"] in [key["id"] for key in listed.json()["data"]]
            assert made["key"] not in listed.text
            assert admin.delete(f"/v1/admin/keys/{made['id']}").status_code == 200
            assert carol.get("/v1/preferences").status_code == 401
        assert admin.delete("/v1/admin/keys/none").status_code == 404
        assert admin.post("/v1/admin/keys", json={"kind": "personal"}).status_code == 400
        assert admin.post("/v1/admin/keys", json={"kind": "robot"}).status_code == 400
        for path in ("/v1/preferences", "/v1/preferences/export", "/v1/preferences/x/history"):
            assert admin.get(path).status_code == 403
            assert admin.get(path, headers={"x-la-user": "carol"}).status_code == 403
        assert "la_agents_engine_generated_tokens_total" in admin.get("/metrics").text
