"""BackgroundLearner: learns in one worker thread, so that answers do not wait; closing it finishes the queue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
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

_LOOK_SECONDS = 0.2  # how soon whoever waits sees that the process ends

Learned = Future[list[Preference]]


@dataclass(slots=True)
class _Batch:
    """What is learned from at once: turns of one user.

    Attributes:
        due: When, on the monotonic clock.
        extractor: Who proposes if the learner was made without one; the latest turn's.
        turns: When each turn was said, its messages, and the future of its result.
    """

    due: float
    extractor: PreferenceExtractor | None = None
    turns: list[tuple[float, list[BaseMessage], Learned]] = field(default_factory=list)


class BackgroundLearner:
    """Learns in the order of submission, one conversation at a time.

    A conversation that cannot be learned from fails its own future and is logged, without its text; the next one is
    not affected. Conversations that still wait when the process exits are learned first.

    Args:
        learner: Reads the conversations.
        max_waiting: How many turns may wait; `submit` blocks beyond.
        pause: Seconds for which a user's turn waits for the next ones, to be learned from together: a chat model is
            asked once for all of them, and each one's future holds what was learned from all.

    Attributes:
        num_failed: How many turns failed.
    """

    def __init__(self, learner: PreferenceLearner, *, max_waiting: int = 1_000, pause: float = 0.0) -> None:
        if max_waiting < 1 or not pause >= 0.0:
            msg = f"Expected max_waiting >= 1 and pause >= 0, got {max_waiting} and {pause}."
            raise ConfigurationError(msg)
        self.learner = learner
        self.num_failed = 0
        self._pause = pause
        self._worker = ThreadPoolExecutor(1, "la-agents-learning")
        self._room = threading.BoundedSemaphore(max_waiting)
        self._open: dict[str, _Batch] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()

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
            UserNotSpecifiedError: no user is named.
            ConfigurationError: it was closed.
        """
        user = resolve_user(user_id, config)
        self._check_open()
        self._room.acquire()
        future: Learned = Future()
        future.add_done_callback(lambda _: self._room.release())
        with self._lock:
            batch = self._open.get(user) if self._pause else None
            try:
                if batch is None:
                    batch = _Batch(time.monotonic() + self._pause)
                    learned = self._worker.submit(self._learn, user, batch)
                    learned.add_done_callback(partial(self._tell, batch))
                    self._open[user] = batch
            except RuntimeError:  # closed since
                self._room.release()
                self._check_open()
                raise
            batch.turns.append((time.monotonic(), [*messages], future))
            batch.extractor = extractor
        return future

    def close(self) -> None:
        """Accept no more conversations, learn the waiting ones, and return when done; a second call does nothing."""
        self._closing.set()
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

    def _check_open(self) -> None:
        if self._closing.is_set():
            msg = "Expected an open BackgroundLearner, got a closed one; make a new one."
            raise ConfigurationError(msg)

    def _learn(self, user: str, batch: _Batch) -> list[Preference]:
        """In the worker's thread. Batches are due in their order, so whoever waits here holds up nobody."""
        while (left := batch.due - time.monotonic()) > 0 and threading.main_thread().is_alive():
            if self._closing.wait(min(left, _LOOK_SECONDS)):
                break
        with self._lock:
            if self._open.get(user) is batch:
                del self._open[user]
        batch.turns[:] = [turn for turn in batch.turns if turn[2].set_running_or_notify_cancel()]
        turns = [turn for turn in batch.turns if not self.learner.store.is_erased_since(user, turn[0])]
        said = [message for _, messages, _ in turns for message in messages]
        if not said:
            return []
        return self.learner.learn(said, user_id=user, extractor=batch.extractor, said_at=turns[0][0])

    def _tell(self, batch: _Batch, learned: Learned) -> None:
        error = learned.exception()
        if error is not None:
            self.num_failed += len(batch.turns)
            logger.error("A conversation was not learned from: %s", type(error).__name__)
        for _, _, future in batch.turns:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result([*learned.result()])
