"""Counts for Prometheus: calls by route and status, their seconds, jobs by state.

Here: the counters, and their text. Not here: the log (log.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from minisora.studio.jobs import State

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)  # seconds


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ["method", "route"]
        self._calls = Counter("minisora_http_requests", "Calls answered.", [*labels, "status"], registry=self._registry)
        self._seconds = Histogram(
            "minisora_http_request_seconds",
            "Seconds until a call was answered.",
            labels,
            registry=self._registry,
            buckets=BUCKETS,
        )
        self._jobs = Gauge(
            "minisora_jobs", "Jobs: unfinished now, finished since the start.", ["state"], registry=self._registry
        )

    def call(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a call. route: with names in place of ids, so that there are few"""
        self._calls.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self, jobs: Mapping[State, int]) -> bytes:
        """All counters in Prometheus' form. jobs: number by state"""
        for state in State:
            self._jobs.labels(state.value).set(jobs.get(state, 0))
        return generate_latest(self._registry)
