"""What is looked up when Prometheus asks, so that keeping it up to date costs nothing in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Moment:
    """What is true of the operator just now."""

    leading: bool
    queue: Mapping[int, int]
    """How many wait for a slot, by priority; each priority is there."""
    oldest_wait: float
    """Seconds for which the one that waits longest has been waiting, 0 when none waits."""
    awaiting_dependency: int
    """How many wait for a Secret or recipe that does not exist."""
    running: int
    slots_taken: int
    slots: int
    paused: bool


class Gauges(Collector):
    """Asks `moment`, and every watch that was named, at each scrape."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.moment: Callable[[], Moment] | None = None
        self.watches: dict[str, Callable[[], float]] = {}
        """Seconds since each was last heard of, by what is watched."""

    def collect(self) -> Iterable[Metric]:
        """The gauges as they are now."""
        if self.moment is not None:
            yield from self._of(self.moment())
        age = self._gauge("watch_age_seconds", "Seconds since a watch was last known to be up to date.", "resource")
        for resource, seconds in self.watches.items():
            age.add_metric([resource], seconds())
        yield age

    def _of(self, now: Moment) -> Iterator[Metric]:
        depth = self._gauge("queue_depth", "ProjectSetups that wait for a slot.", "priority")
        for priority, count in now.queue.items():
            depth.add_metric([str(priority)], count)
        yield depth
        for name, value, text in (
            ("queue_oldest_seconds", now.oldest_wait, "How long the one that waits longest has been waiting."),
            ("queue_paused", now.paused, "1 while the queue is paused."),
            ("awaiting_dependency", now.awaiting_dependency, "ProjectSetups that wait for a Secret or recipe."),
            ("running", now.running, "Attempts that run."),
            ("slots", now.slots, "Attempts that may run at once."),
            ("slots_taken", now.slots_taken, "Slots taken."),
            ("leading", now.leading, "1 while this operator leads."),
        ):
            gauge = self._gauge(name, text)
            gauge.add_metric([], float(value))
            yield gauge

    def _gauge(self, name: str, text: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{self._prefix}{name}", text, labels=labels)
