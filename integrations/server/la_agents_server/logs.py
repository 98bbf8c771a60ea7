"""Logs: one JSON object a line, without texts, keys or users."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Protocol

__all__ = ["log_access", "log_as_json"]

_access = logging.getLogger("la_agents_server.access")


class _Access(Protocol):
    request_id: str
    status: int
    key: str | None

    @property
    def route(self) -> str: ...
    @property
    def seconds(self) -> float: ...


def log_access(exchange: _Access, method: str) -> None:
    """Note that a request was answered; by its route, since a path may hold an id."""
    fields = {
        "request_id": exchange.request_id,
        "method": method,
        "route": exchange.route,
        "status": exchange.status,
        "seconds": round(exchange.seconds, 4),
        "key": exchange.key,
    }
    _access.info("answered", extra={"fields": fields})


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"at": at, "level": record.levelname.lower(), "logger": record.name}
        line["message"] = record.getMessage()
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0]:  # its type alone: the message may hold a user's text
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False)


def log_as_json(level: str = "INFO") -> None:
    """Let this process log JSON lines to standard error; for the command, never for an import."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("httpx", "httpcore", "chromadb"):
        logging.getLogger(name).setLevel("WARNING")
