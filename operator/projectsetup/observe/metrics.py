"""Prometheus metrics of one operator process.

Labels have few values: enum values, and the names of recipes and their steps. No label names a project or a namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

PREFIX = "projectsetup_"
STEP_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
ATTEMPT_SECONDS = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0)
WAIT_SECONDS = (0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 43200.0)
"""Upper bounds of the histogram buckets."""

Pairs = Iterable[tuple[str, str]]

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would add a second series to each counter


class Metrics:
    """All metrics, in a registry of their own."""

    def __init__(
        self,
        *,
        setup_ends: Pairs = (),
        attempt_ends: Pairs = (),
        retry_results: Iterable[str] = (),
        cancel_results: Iterable[str] = (),
        database_errors: Iterable[str] = (),
    ) -> None:
        """Takes the label values to export from the start, so that `increase()` counts the first event of each."""
        self._registry = CollectorRegistry()
        self._setups_ended = self._counter("setups_ended", "Setups that finished.", "outcome", "reason")
        self._attempts_started = self._counter("attempts_started", "Attempts started.")
        self._attempts_ended = self._counter("attempts_ended", "Attempts that finished.", "outcome", "reason")
        self._retries = self._counter("retries", "Failed attempts that are retried after a delay.")
        self._retry_requests = self._counter("retry_requests", "Manual retries requested.", "result")
        self._cancel_requests = self._counter("cancel_requests", "Cancels requested.", "result")
        self._waits = self._histogram(
            "queue_wait_seconds", "Time that attempts waited in the queue, from when they could start.", WAIT_SECONDS
        )
        self._attempts = self._histogram(
            "attempt_duration_seconds",
            "Duration of attempts that ran to their end.",
            ATTEMPT_SECONDS,
            "recipe",
            "outcome",
        )
        self._steps = self._histogram(
            "step_duration_seconds", "Duration of steps that ran to their end.", STEP_SECONDS, "recipe", "step"
        )
        self._api_writes = self._counter("api_writes", "Writes to the API server.", "resource", "verb", "result")
        self._database_errors = self._counter("database_errors", "Failed database calls.", "kind")
        self._connection = Gauge(
            f"{PREFIX}database_connection",
            "Always 1; the label says how the connection to the database is protected.",
            ["protection"],
            registry=self._registry,
        )
        self._build = Gauge(
            f"{PREFIX}build_info",
            "1, labelled with the running versions.",
            ["version", "python_version"],
            registry=self._registry,
        )
        self._failures = self._counter("reconcile_failures", "Reconciles that failed and were requeued.")
        self._gauges = Gauges(PREFIX)
        self._registry.register(self._gauges)
        for counter, ends in ((self._setups_ended, setup_ends), (self._attempts_ended, attempt_ends)):
            for outcome, reason in ends:
                counter.labels(outcome, reason)
        for counter, values in (
            (self._retry_requests, retry_results),
            (self._cancel_requests, cancel_results),
            (self._database_errors, database_errors),
        ):
            for value in values:
                counter.labels(value)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(PREFIX + name, text, labels, buckets=buckets, registry=self._registry)

    def setup_ended(self, outcome: str, reason: str) -> None:
        """A setup has finished, as its `.status` says."""
        self._setups_ended.labels(outcome, reason).inc()

    def attempt_started(self, waited: float | None) -> None:
        """An attempt has started after waiting in the queue for `waited` seconds, if that is known."""
        self._attempts_started.inc()
        if waited is not None:
            self._waits.observe(max(waited, 0.0))

    def attempt_ended(self, outcome: str, reason: str) -> None:
        """An attempt has ended, as its `.status` says."""
        self._attempts_ended.labels(outcome, reason).inc()

    def retry_scheduled(self) -> None:
        """A failed attempt will be retried."""
        self._retries.inc()

    def retry_requested(self, result: str) -> None:
        """Somebody has requested a retry, with this result."""
        self._retry_requests.labels(result).inc()

    def cancel_requested(self, result: str) -> None:
        """Somebody has requested a cancel, with this result."""
        self._cancel_requests.labels(result).inc()

    def attempt_took(self, recipe: str, outcome: str, seconds: float) -> None:
        """An attempt ran to its end."""
        self._attempts.labels(recipe, outcome).observe(seconds)

    def step_took(self, recipe: str, step: str, seconds: float) -> None:
        """A step that `recipe` declares ran to its end."""
        self._steps.labels(recipe, step).observe(seconds)

    def api_written(self, resource: str, verb: str, result: str) -> None:
        """A write was sent to the API server."""
        self._api_writes.labels(resource, verb, result).inc()

    def database_failed(self, kind: str) -> None:
        """A database call has failed."""
        self._database_errors.labels(kind).inc()

    def database_protected(self, protection: str) -> None:
        """Export how the connection to the database is protected."""
        self._connection.labels(protection).set(1)

    def set_build_info(self, version: str, python_version: str) -> None:
        """Expose the versions of the operator and of the Python that runs it."""
        self._build.labels(version, python_version).set(1)

    def reconcile_failed(self) -> None:
        """A reconcile has failed and was requeued."""
        self._failures.inc()

    def show(self, moment: Callable[[], Moment]) -> None:
        """Read the gauges from `moment` at each scrape."""
        self._gauges.moment = moment

    def watch(self, resource: str, age: Callable[[], float]) -> None:
        """Export the age of a watch: the seconds since it was last known to be up to date."""
        self._gauges.watches[resource] = age

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


@dataclass(frozen=True, slots=True)
class Moment:
    """The state of the operator at one moment."""

    leading: bool
    queue: Mapping[int, int]
    """Setups waiting for a slot, by priority; has every priority."""
    limited: Mapping[str, int]
    """Those of them that may not start since their namespace or recipe has reached its limit, by what has."""
    oldest_wait: float
    """Seconds since the longest-waiting setup could start; 0 if none waits."""
    awaiting_dependency: int
    """Setups waiting for a Secret or recipe that does not exist."""
    intake_pending: int
    """Requests of applications that were not handled yet; 0 where the operator serves none."""
    intake_oldest: float
    """Seconds since the oldest of them was made."""
    running: int
    slots_taken: int
    slots: int
    paused: bool


class Gauges(Collector):
    """Gauges that are computed at each scrape, so that keeping them up to date costs nothing in between."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.moment: Callable[[], Moment] | None = None
        self.watches: dict[str, Callable[[], float]] = {}
        """The age of each watch in seconds, by watched resource."""

    def collect(self) -> Iterable[Metric]:
        """The gauges as they are now."""
        if self.moment is not None:
            yield from self._of(self.moment())
        age = self._gauge("watch_age_seconds", "Seconds since a watch was last known to be up to date.", "resource")
        for resource, seconds in self.watches.items():
            age.add_metric([resource], seconds())
        yield age

    def _of(self, now: Moment) -> Iterator[Metric]:
        depth = self._gauge("queue_depth", "ProjectSetups waiting for a slot.", "priority")
        for priority, count in now.queue.items():
            depth.add_metric([str(priority)], count)
        yield depth
        limited = self._gauge("queue_limited", "ProjectSetups waiting for a limit to allow another attempt.", "limit")
        for kind, count in now.limited.items():
            limited.add_metric([kind], count)
        yield limited
        for name, value, text in (
            (
                "queue_oldest_seconds",
                now.oldest_wait,
                "Seconds that the longest-waiting ProjectSetup has been waiting.",
            ),
            ("queue_paused", now.paused, "1 while the queue is paused."),
            ("awaiting_dependency", now.awaiting_dependency, "ProjectSetups waiting for a Secret or recipe."),
            ("intake_pending", now.intake_pending, "Requests of applications that were not handled yet."),
            ("intake_oldest_seconds", now.intake_oldest, "Seconds since the oldest of them was made."),
            ("running", now.running, "Running attempts."),
            ("slots", now.slots, "Limit of concurrent attempts."),
            ("slots_taken", now.slots_taken, "Slots in use."),
            ("leading", now.leading, "1 while this operator is the leader."),
        ):
            gauge = self._gauge(name, text)
            gauge.add_metric([], float(value))
            yield gauge

    def _gauge(self, name: str, text: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{self._prefix}{name}", text, labels=labels)
