"""Metrics for Prometheus: HTTP, tokens and the engine; no label names a user or a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Metrics:
    """What one application counts, in a registry of its own.

    Args:
        engine_stats: Gives the engine's figures by name, or None while no model is loaded.
    """

    def __init__(self, engine_stats: Callable[[], Mapping[str, Any] | None]) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("la_agents_http_requests", "Requests answered.", labels, registry=self._registry)
        self._durations = Histogram(
            "la_agents_http_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.first_token = Histogram(
            "la_agents_first_token_seconds",
            "From a request to the first token of its streamed answer.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.store = Histogram(
            "la_agents_store_seconds",
            "Time of operations on the preference store.",
            ("operation",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_EngineCollector(engine_stats))

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        named = method if method in _METHODS else "other"
        self._requests.labels(named, route, str(status)).inc()
        self._durations.labels(named, route).observe(seconds)

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _EngineCollector(Collector):
    """The engine's own snapshot, taken when it is asked for."""

    def __init__(self, stats: Callable[[], Mapping[str, Any] | None]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        yield GaugeMetricFamily("la_agents_engine_up", "Whether the model is loaded.", float(stats is not None))
        for name, value in (stats or {}).items():
            if not isinstance(value, (int, float)):
                continue
            is_total = name.startswith("num_") and name not in ("num_rows", "num_waiting", "num_running")
            is_total = is_total or name.endswith("_seconds")
            family = CounterMetricFamily if is_total else GaugeMetricFamily
            yield family(f"la_agents_engine_{name.removeprefix('num_')}", f"{name} of the engine.", value=float(value))
