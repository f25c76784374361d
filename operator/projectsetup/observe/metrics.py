"""Prometheus metrics of one operator process."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class Metrics:
    """All metrics, in a registry of their own."""

    def __init__(self, ends: Iterable[tuple[str, str]]) -> None:
        """`ends`: kinds and reasons that are there from the start, so that the first of each is seen as an increase."""
        self._registry = CollectorRegistry()
        self._started = self._counter("attempts_started", "Attempts started.")
        self._ended = self._counter("attempts_ended", "Ends told, by kind and reason.", "kind", "reason")
        for kind, reason in ends:
            self._ended.labels(kind, reason)
        self._writes = self._counter("status_writes", "Writes of .status.")
        self._failures = self._counter("reconcile_failures", "Looks at a ProjectSetup that have to be repeated.")
        self._waiting = self._gauge("waiting", "ProjectSetups that wait for a slot.")
        self._holding = self._gauge("slots_taken", "Slots taken.")
        self._leading = self._gauge("leading", "1 while this operator leads.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"projectsetup_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"projectsetup_{name}", text, registry=self._registry)

    def attempt_started(self) -> None:
        """An attempt was started."""
        self._started.inc()

    def attempt_ended(self, kind: str, reason: str) -> None:
        """An end was told."""
        self._ended.labels(kind, reason).inc()

    def status_written(self) -> None:
        """`.status` was written."""
        self._writes.inc()

    def reconcile_failed(self) -> None:
        """A look has to be repeated."""
        self._failures.inc()

    def queue(self, waiting: int, holding: int) -> None:
        """How many wait for a slot and how many hold one."""
        self._waiting.set(waiting)
        self._holding.set(holding)

    def leading(self, leads: bool) -> None:
        """Whether this operator leads."""
        self._leading.set(1 if leads else 0)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
