"""Bounds: tools and formats of a request, as the chat model takes them, and not too many."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from la_agents_server.errors import ApiError
from la_agents_server.settings import Settings

__all__ = ["checked_format", "checked_tools"]

_FORMATS = ("text", "json_object", "json_schema")


def checked_tools(tools: Sequence[Mapping[str, Any]] | None, settings: Settings) -> list[dict[str, Any]]:
    """The tools of a request.

    Raises:
        ApiError: there are too many, they are too long, or one is not a function.
    """
    if len(tools or ()) > settings.max_tools:
        raise ApiError(400, f"Expected at most {settings.max_tools} tools, got {len(tools or ())}.", param="tools")
    _check_size(tools or (), settings, "tools")
    for tool in tools or ():
        if tool.get("type") != "function":
            raise ApiError(
                400, "Expected tools of type 'function', got another.", param="tools", code="unsupported_value"
            )
    return [dict(tool) for tool in tools or ()]


def checked_format(value: Mapping[str, Any] | None, settings: Settings, param: str) -> dict[str, Any] | None:
    """The response format of a request; None for free text.

    Raises:
        ApiError: it is of another kind than OpenAI's, or too long.
    """
    if value is None or value.get("type") == "text":
        return None
    if value.get("type") not in _FORMATS:
        msg = f"Expected a format of type {', '.join(_FORMATS)}, got another."
        raise ApiError(400, msg, param=param, code="unsupported_value")
    _check_size(value, settings, param)
    if value["type"] == "json_object":
        return {"type": "json_object"}  # what else is there means something to other servers
    schema = value.get("json_schema")
    if not isinstance(schema, Mapping) or not isinstance(schema.get("schema"), Mapping):
        raise ApiError(400, "Expected a format json_schema with its schema, got one without.", param=param)
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema["schema"])}}


def _check_size(value: Any, settings: Settings, param: str) -> None:
    try:
        size = len(json.dumps(value))
    except RecursionError:
        size = settings.max_schema_bytes + 1
    if size > settings.max_schema_bytes:
        msg = f"Expected at most {settings.max_schema_bytes} bytes of JSON here, got more; simplify the schema."
        raise ApiError(400, msg, param=param, code="schema_too_large")
