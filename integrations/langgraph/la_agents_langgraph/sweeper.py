"""Sweeper: a thread that removes what has expired, now and then, until it is stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from la_agents.errors import ConfigurationError, LaAgentsError

__all__ = ["Sweeper"]

logger = logging.getLogger(__name__)


class Sweeper:
    """Runs one function at an interval. A failed round is logged, and the next one tries again.

    Args:
        sweep: Removes what has expired and returns how many that were.
    """

    def __init__(self, sweep: Callable[[], int]) -> None:
        self._sweep = sweep
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self, interval_minutes: float) -> None:
        """Sweep at once and then at the interval; once more changes nothing.

        Raises:
            ConfigurationError: the interval is not above 0.
        """
        if not interval_minutes > 0:
            msg = f"Expected a sweep interval above 0 minutes, got {interval_minutes}."
            raise ConfigurationError(msg)
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, args=(interval_minutes * 60,), daemon=True)
            self._thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """Stop after the round that is running; return whether it has ended within `timeout` seconds."""
        self._stop.set()
        thread = self._thread
        if thread is None:
            return True
        thread.join(timeout)
        if thread.is_alive():
            return False
        self._thread = None
        return True

    def _run(self, interval_seconds: float) -> None:
        while True:
            try:
                self._sweep()
            except LaAgentsError as error:
                logger.warning("Expired items were not removed: %s", error)
            if self._stop.wait(interval_seconds):
                return
