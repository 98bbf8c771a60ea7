"""BackgroundLearner: learning off the response path, by one worker thread that drains its queue when it is closed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig, run_in_executor

from la_agents.errors import ConfigurationError
from la_agents.learning.learner import PreferenceLearner
from la_agents.learning.proposal import PreferenceExtractor
from la_agents.preferences.preference import Preference
from la_agents.users import resolve_user

__all__ = ["BackgroundLearner"]

logger = logging.getLogger(__name__)

Learned = Future[list[Preference]]


class BackgroundLearner:
    """Learns in the order of submission, one conversation at a time.

    A conversation that cannot be learned from fails its own future and is logged, without its text; the next one is
    not affected. What is still waiting when the process exits is learned before.

    Args:
        learner: Who learns.
        max_waiting: How many conversations may wait; `submit` blocks beyond.

    Attributes:
        num_failed: How many conversations failed.
    """

    def __init__(self, learner: PreferenceLearner, *, max_waiting: int = 1_000) -> None:
        if max_waiting < 1:
            msg = f"Expected max_waiting to be >= 1, got {max_waiting}."
            raise ConfigurationError(msg)
        self.learner = learner
        self.num_failed = 0
        self._worker = ThreadPoolExecutor(1, "la-agents-learning")
        self._room = threading.BoundedSemaphore(max_waiting)
        self._closed = False

    def submit(
        self,
        messages: Sequence[BaseMessage],
        *,
        user_id: object = None,
        config: RunnableConfig | None = None,
        extractor: PreferenceExtractor | None = None,
    ) -> Learned:
        """Queue a conversation and return at once; takes and gives what `PreferenceLearner.learn` does.

        Raises:
            UserNotSpecifiedError: nobody is named.
            ConfigurationError: it was closed.
        """
        user = resolve_user(user_id, config)
        if self._closed:
            msg = "Expected an open BackgroundLearner, got a closed one; make a new one."
            raise ConfigurationError(msg)
        self._room.acquire()
        try:
            future = self._worker.submit(self.learner.learn, [*messages], user_id=user, extractor=extractor)
        except RuntimeError as error:  # closed since
            self._room.release()
            msg = "Expected an open BackgroundLearner, got one that is being closed; make a new one."
            raise ConfigurationError(msg) from error
        future.add_done_callback(self._done)
        return future

    def close(self) -> None:
        """Take no more, learn what waits, and return when that is done; once more is harmless."""
        self._closed = True
        self._worker.shutdown(wait=True)

    async def aclose(self) -> None:
        """Do what `close` does, without blocking the event loop."""
        await run_in_executor(None, self.close)

    def __enter__(self) -> BackgroundLearner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> BackgroundLearner:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _done(self, future: Learned) -> None:
        self._room.release()
        if not future.cancelled() and (error := future.exception()) is not None:
            self.num_failed += 1
            logger.error("A conversation was not learned from: %s", type(error).__name__)
