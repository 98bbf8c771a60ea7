"""The description of the API: what every answer holds."""

from __future__ import annotations

from typing import Any

from running import Served


def test_every_answer_in_json_is_described_by_its_fields(tiny_server: Served) -> None:
    with tiny_server.http(tiny_server.key("alice")) as http:
        description = http.get("/openapi.json").json()
    schemas = description["components"]["schemas"]
    answers = [
        (f"{method} {path}", schema)
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
        for schema in _answers(operation)
    ]
    assert len(answers) > 25
    bare = [name for name, schema in answers if not schemas.get(_name(schema), {}).get("properties")]
    assert bare == []


def test_lists_say_what_they_list(tiny_server: Served) -> None:
    with tiny_server.http(tiny_server.key("alice")) as http:
        schemas = http.get("/openapi.json").json()["components"]["schemas"]
    lists = {name: schema for name, schema in schemas.items() if "data" in schema.get("properties", {})}
    assert len(lists) >= 6
    for schema in lists.values():
        assert _name(schema["properties"]["data"]["items"]) in schemas


def test_every_body_in_json_has_an_example(tiny_server: Served) -> None:
    with tiny_server.http(tiny_server.key("alice")) as http:
        schemas = http.get("/openapi.json").json()["components"]["schemas"]
        paths = http.get("/openapi.json").json()["paths"]
    bodies = [
        body["content"]["application/json"]["schema"]
        for operations in paths.values()
        for operation in operations.values()
        if "application/json" in (body := operation.get("requestBody", {"content": {}}))["content"]
    ]
    assert len(bodies) > 10
    for body in bodies:
        for kind in body.get("oneOf", [body]):
            assert schemas[_name(kind)]["examples"]


def _answers(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas of what an operation answers in JSON when all is well."""
    contents = [answer.get("content", {}) for code, answer in operation["responses"].items() if code.startswith("2")]
    return [content["application/json"].get("schema", {}) for content in contents if "application/json" in content]


def _name(schema: dict[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]
