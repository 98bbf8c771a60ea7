"""Numbers as JSON has them."""

from __future__ import annotations

from typing import Any

from pydantic import BeforeValidator

__all__ = ["WHOLE"]


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""On an integer: 1.0 is 1, as it is in JSON."""
