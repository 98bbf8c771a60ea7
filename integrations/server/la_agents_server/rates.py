"""Rates: how many requests a key may make a minute, and at a time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from la_agents_server.errors import ApiError
from la_agents_server.principal import Principal
from la_agents_server.settings import Settings

__all__ = ["Rates"]

_KEPT = 100_000


@dataclass(slots=True)
class _Bucket:
    """A token bucket: it holds a minute's requests at most, and fills steadily."""

    tokens: float
    at: float
    running: int = 0


class Rates:
    """Counts in this process; for the event loop's thread only."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    @contextmanager
    def counted(self, principal: Principal) -> Iterator[None]:
        """Count a request while it runs.

        Raises:
            ApiError: 429; it is one too many.
        """
        rate = principal.requests_per_minute or self._settings.requests_per_minute
        most = principal.max_concurrent or self._settings.max_concurrent
        now = time.monotonic()
        bucket = self._buckets.pop(principal.counted_as, None) or _Bucket(rate, now)
        self._buckets[principal.counted_as] = bucket
        bucket.tokens, bucket.at = min(rate, bucket.tokens + (now - bucket.at) * rate / 60), now
        self._drop_idle()
        if bucket.running >= most:
            msg = f"Expected at most {most} requests of this key at a time, got one more; wait for an answer."
            raise ApiError(429, msg, code="concurrency_limit_exceeded", headers={"Retry-After": "1"})
        if bucket.tokens < 1:
            seconds = max(1, round((1 - bucket.tokens) * 60 / rate))
            msg = f"Expected at most {rate} requests of this key a minute, got more; wait {seconds} s."
            raise ApiError(429, msg, code="rate_limit_exceeded", headers={"Retry-After": str(seconds)})
        bucket.tokens -= 1
        bucket.running += 1
        try:
            yield
        finally:
            bucket.running -= 1

    def _drop_idle(self) -> None:
        """What was not used for longest; a bucket that is running stays."""
        while len(self._buckets) > _KEPT:
            id, bucket = next(iter(self._buckets.items()))
            if bucket.running:
                return
            del self._buckets[id]
