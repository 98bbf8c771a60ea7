"""JSON answers."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse

__all__ = ["Json"]


class Json(JSONResponse):
    """As Starlette's, in ASCII: what a model wrote may hold half a character, which UTF-8 cannot."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
