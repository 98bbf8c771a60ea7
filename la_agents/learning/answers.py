"""Which preferences an answer used: read from the answer's report, and remembered by run."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from la_agents.errors import ConfigurationError

__all__ = ["AnswerLog", "own_ids"]

_MAX_OPEN = 100_000
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def own_ids(message: BaseMessage) -> frozenset[str]:
    """Ids of the user's own preferences that an answer was aligned with; none if it has no report."""
    return _ids(message.response_metadata)


def _ids(metadata: Mapping[str, Any]) -> frozenset[str]:
    principles = (metadata.get("alignment") or {}).get("principles") or []
    return frozenset(p["id"] for p in principles if p.get("id") is not None and p.get("layer", "user") == "user")


class AnswerLog(BaseCallbackHandler):
    """A callback that remembers, for the latest runs, the ids of the preferences that their answers used.

    A run around several answers, such as an agent's, counts all of theirs. Safe to share between runs and threads.
    """

    def __init__(self, max_answers: int = 10_000) -> None:
        if max_answers < 1:
            msg = f"Expected max_answers to be >= 1, got {max_answers}."
            raise ConfigurationError(msg)
        self._max_answers = max_answers
        self._used: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._parents: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def ids_of(self, run_id: UUID | str) -> frozenset[str]:
        """The ids of one run.

        Raises:
            ConfigurationError: no such run reported an answer here, or too long ago.
        """
        found = _UUID.search(str(run_id))  # a message's id has the run's in it
        key = found[0] if found else str(run_id)
        with self._lock:
            if key in self._used:
                return self._used[key]
        msg = 'Expected a run that reported here, got an unknown one; pass config={"callbacks": [recorder.callback]}.'
        raise ConfigurationError(msg)

    def _began(self, *started: Any, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
        """Note which run it belongs to."""
        if parent_run_id is not None:
            with self._lock:
                self._parents[str(run_id)] = str(parent_run_id)
                while len(self._parents) > _MAX_OPEN:
                    self._parents.popitem(last=False)

    def _ended(self, *ended: Any, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
        """Forget where a run belonged that has finished, or failed."""
        with self._lock:
            self._parents.pop(str(run_id), None)

    on_chain_start = on_tool_start = on_chat_model_start = on_llm_start = _began  # a tool may be an agent
    on_chain_end = on_chain_error = on_tool_end = on_tool_error = on_llm_error = _ended

    def on_llm_end(
        self, response: LLMResult, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """Remember what the answer used, for its own run and for all around it."""
        used = frozenset[str]()
        for generation in (each for several in response.generations for each in several):
            if isinstance(generation, ChatGeneration):
                used |= own_ids(generation.message)
            else:
                used |= _ids(generation.generation_info or {})
        with self._lock:
            key: str | None = str(run_id)
            while key is not None:
                self._used[key] = self._used.pop(key, frozenset()) | used
                key = self._parents.get(key)
            while len(self._used) > self._max_answers:
                self._used.popitem(last=False)
        self._ended(run_id=run_id)
