"""Memories exported from other libraries, by their documented record shapes, as lines of an import."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import MAXYEAR, datetime, timedelta, timezone
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
    if source_format == "la-agents":
        return dict(values)
    place, text, metadata = _mem0(values) if source_format == "mem0" else _langmem(values)
    if not isinstance(text, str):
        msg = f"{place}: Expected the text of a {source_format} memory, got none"
        raise ValueError(msg)
    if not isinstance(metadata, Mapping):
        msg = f"metadata: Expected an object, got {type(metadata).__name__}"
        raise ValueError(msg)
    line = {
        "id": _id(values.get("id" if source_format == "mem0" else "key")),
        "text": text,
        "created_at": _time(values.get("created_at")),
        "updated_at": _time(values.get("updated_at")),
        "expires_at": _end(values.get("expiration_date")),
        "metadata": metadata,
    }
    return {name: value for name, value in line.items() if value is not None}


def _mem0(values: Mapping[str, Any]) -> tuple[str, Any, Any]:
    metadata = values.get("metadata") or {}
    kept = {name: values[name] for name in ("categories", "agent_id", "run_id", "app_id") if values.get(name)}
    return "memory", values.get("memory"), {**metadata, **kept} if isinstance(metadata, Mapping) else metadata


def _langmem(values: Mapping[str, Any]) -> tuple[str, Any, Any]:
    value = values.get("value")
    content = value.get("content") if isinstance(value, Mapping) else None
    content = content if isinstance(content, Mapping) else {"content": content}
    return "value.content", content.get("content"), {name: content[name] for name in content if name != "content"}


def _id(value: Any) -> str | None:
    """An id that can be kept; without one, the line gets one of its text."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value) else None


def _end(text: Any) -> Any:
    """When it no longer applies: of a date the end of that day, UTC, as mem0 counts it; of a time that instant."""
    if isinstance(text, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip()):
        day = _time(text.strip())
        if not isinstance(day, datetime):
            return day
        return None if day.year == MAXYEAR else day + timedelta(days=1)  # of the last year: what has no end
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
