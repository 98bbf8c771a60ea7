"""vLLM: a client for servers with the plugin `la-agents-vllm`, behind the protocol of `la_agents.requests.Engine`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from la_agents.lazy_names import names_of

if TYPE_CHECKING:
    from la_agents.vllm.engine import VllmEngine

__all__ = ["VllmEngine"]

__getattr__, __dir__ = names_of(__name__, {"VllmEngine": "engine"})
