"""Calls: from a face's settings and a call's arguments to a request for an engine, and from its answer to metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from la_agents.lazy_names import names_of

if TYPE_CHECKING:
    from la_agents.calls.builder import AlignedCall, CallBuilder, last_human_text
    from la_agents.calls.settings import Personalized

__all__ = ["AlignedCall", "CallBuilder", "Personalized", "last_human_text"]

__getattr__, __dir__ = names_of(
    __name__,
    {
        "AlignedCall": "builder",
        "CallBuilder": "builder",
        "Personalized": "settings",
        "last_human_text": "builder",
    },
)
