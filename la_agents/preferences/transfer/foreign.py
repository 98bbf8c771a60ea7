"""Memories exported from other libraries, by their documented record shapes, as lines of an import."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, get_args

from la_agents.errors import ConfigurationError

__all__ = ["ExportFormat", "check_format", "owner_in", "translated"]

ExportFormat = Literal["la-agents", "mem0", "langmem"]


def check_format(source_format: str) -> None:
    """Raise ConfigurationError unless it is one of `ExportFormat`."""
    known = get_args(ExportFormat)
    if source_format not in known:
        msg = f"Expected source_format to be one of {', '.join(known)}, got {source_format!r}."
        raise ConfigurationError(msg)


def owner_in(values: Mapping[str, Any], source_format: ExportFormat) -> str | None:
    """Whose memory a record of another library says it is; None if it does not say."""
    owner = values.get({"mem0": "user_id", "langmem": "namespace"}.get(source_format, ""))
    return None if owner is None else json.dumps(owner)


def translated(values: Mapping[str, Any], source_format: ExportFormat) -> dict[str, Any]:
    """One record in this library's words.

    mem0: what `get_all` returns under `results`: `id`, `memory`, `metadata`, `categories`, `created_at`, `updated_at`,
    `expiration_date`. LangMem: an item of a LangGraph store: `key`, `value`, `created_at`, `updated_at`, the text at
    `value["content"]`, or, as its memory managers write, at `value["content"]["content"]`.

    Raises:
        ValueError: it has no text where such a record has it.
    """
    readers: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"mem0": _mem0, "langmem": _langmem}
    read = readers.get(source_format)
    return dict(values) if read is None else {k: v for k, v in read(values).items() if v is not None}


def _mem0(values: Mapping[str, Any]) -> dict[str, Any]:
    text = values.get("memory")
    if not isinstance(text, str):
        msg = "memory: Expected the text of a mem0 memory, got none"
        raise ValueError(msg)
    kept = {name: values[name] for name in ("categories", "agent_id", "run_id", "app_id") if values.get(name)}
    return {
        "id": _id(values.get("id")),
        "text": text,
        "created_at": _time(values.get("created_at")),
        "updated_at": _time(values.get("updated_at")),
        "expires_at": _end(values.get("expiration_date")),
        "metadata": {**_metadata(values), **kept},
    }


def _langmem(values: Mapping[str, Any]) -> dict[str, Any]:
    value = values.get("value")
    content = value.get("content") if isinstance(value, Mapping) else None
    text = content.get("content") if isinstance(content, Mapping) else content
    if not isinstance(text, str):
        msg = "value.content: Expected the text of a LangMem item, got none"
        raise ValueError(msg)
    rest = {name: each for name, each in content.items() if name != "content"} if isinstance(content, Mapping) else {}
    return {
        "id": _id(values.get("key")),
        "text": text,
        "created_at": _time(values.get("created_at")),
        "updated_at": _time(values.get("updated_at")),
        "metadata": rest,
    }


def _metadata(values: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = values.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        msg = f"metadata: Expected an object, got {type(metadata).__name__}"
        raise ValueError(msg)
    return metadata


def _id(value: Any) -> str | None:
    """An id that can be kept; without one, the line gets one of its text."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value) else None


def _end(text: Any) -> Any:
    """When it no longer applies: of a date the end of that day, UTC, as mem0 counts it; of a time that instant."""
    if isinstance(text, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip()):
        day = _time(text.strip())
        return day + timedelta(days=1) if isinstance(day, datetime) else day
    return _time(text)


def _time(text: Any) -> Any:
    """A time with a zone, UTC where none is given; what is no time is left for the validation to name."""
    if not isinstance(text, str):
        return text
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return text
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
