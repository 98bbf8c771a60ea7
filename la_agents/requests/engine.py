"""Engine: what the faces know of whatever runs a model: a protocol, so that any engine can stand behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from la_agents.requests.generation import Generation
    from la_agents.requests.request import Request

__all__ = ["Engine"]


@runtime_checkable
class Engine(Protocol):
    """Runs requests. `la_agents.engine_tests` tells whether one keeps to what the faces rely on.

    An engine may have a `fingerprint` as well: a text that is equal only where the same model gives the same answers,
    in whatever process. Without one, LangChain's caches keep the answers of each engine object apart.

    Attributes:
        name: The model, as answers report it.
        tokenizer: Its own; prompts are encoded with it.
        context: Tokens at most, prompt and answer together.
    """

    @property
    def name(self) -> str: ...

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...

    @property
    def context(self) -> int: ...

    def submit(self, request: Request) -> Generation:
        """Queue a request; returns without waiting for its answer.

        Raises:
            ConfigurationError: the request is not one for this model.
            RequestTooLargeError: it could never run.
            EngineBusyError: the queue is full; asking again later may succeed.
            EngineClosedError: this engine takes no more requests.
        """
        ...
