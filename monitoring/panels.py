"""What the dashboard shows: rows of panels, and the queries behind them.

`$recipe` are the recipes that were chosen, `$__rate_interval` and `$__range` are Grafana's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

PER_MINUTE: Final = "suffix: /min"
PER_SECOND: Final = "suffix: /s"
SECONDS: Final = "s"
NUMBER: Final = "short"
SHARE: Final = "percentunit"


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression, and how its lines are named."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number as it is now; `steps` are the values from which on it has another colour."""

    title: str
    description: str
    query: Query
    unit: str = NUMBER
    steps: Sequence[tuple[float, str]] = ()
    words: Sequence[tuple[str, str]] = ()
    """What is shown in the place of values."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Lines over time; `stacked` where their sum means something."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: str
    stacked: bool = False
    colors: Mapping[str, str] = field(default_factory=dict)
    """The colour of lines whose names begin so, each in a shade of its own."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: Sequence[Figure | Graph]


def per_minute(metric: str, *labels: str) -> str:
    """How much a counter grows in a minute, by these labels."""
    return f"60 * sum{_by(labels)} (rate({metric}[$__rate_interval]))"


def quantile(share: float, metric: str, *labels: str) -> str:
    """A quantile of a histogram, by these labels."""
    return f"histogram_quantile({share}, sum{_by(('le', *labels))} (rate({_bucket(metric)}[$__rate_interval])))"


def mean(metric: str, *labels: str) -> str:
    """The mean of what a histogram observed, by these labels."""
    total, count = (f"sum{_by(labels)} (rate({_part(metric, part)}[$__rate_interval]))" for part in ("sum", "count"))
    return f"{total} / {count}"


def _bucket(metric: str) -> str:
    return _part(metric, "bucket")


def _part(metric: str, part: str) -> str:
    name, brace, rest = metric.partition("{")
    return f"{name}_{part}{brace}{rest}"


def _by(labels: Sequence[str]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""


_OUTCOMES: Final = {"Succeeded": "green", "Failed": "red", "Cancelled": "blue", "Returned": "purple"}
_STEPS: Final = 'projectsetup_step_duration_seconds{recipe=~"$recipe"}'
_ATTEMPTS: Final = 'projectsetup_attempt_duration_seconds{recipe=~"$recipe",outcome="Succeeded"}'
_WAITS: Final = "projectsetup_queue_wait_seconds"

ROWS: Final = (
    Row(
        "Now",
        (
            Figure(
                "Leaders",
                "Operators that lead. It has to be 1.",
                Query("sum(projectsetup_leading) or vector(0)"),
                steps=((0, "red"), (1, "green"), (2, "red")),
            ),
            Figure("Running", "Attempts that run.", Query("sum(projectsetup_running)")),
            Figure("Waiting", "Setups that wait for a slot.", Query("sum(projectsetup_queue_depth)")),
            Figure(
                "Waits longest",
                "How long the one that waits longest has been waiting for a slot.",
                Query("max(projectsetup_queue_oldest_seconds)"),
                unit=SECONDS,
                steps=((0, "green"), (900, "orange"), (3600, "red")),
            ),
            Figure(
                "Succeeded",
                "Of the setups that ended in the time shown.",
                Query(
                    'sum(increase(projectsetup_setups_ended_total{outcome="Succeeded"}[$__range]))'
                    " / sum(increase(projectsetup_setups_ended_total[$__range]))"
                ),
                unit=SHARE,
                steps=((0, "red"), (0.8, "orange"), (0.95, "green")),
            ),
            Figure(
                "Queue",
                "Whether new attempts may start.",
                Query("max(projectsetup_queue_paused)"),
                steps=((0, "green"), (1, "orange")),
                words=(("0", "open"), ("1", "paused")),
            ),
        ),
    ),
    Row(
        "Setups",
        (
            Graph(
                "Setups that are over",
                "By outcome and reason, as their status tells it.",
                (Query(per_minute("projectsetup_setups_ended_total", "outcome", "reason"), "{{outcome}}: {{reason}}"),),
                PER_MINUTE,
                stacked=True,
                colors=_OUTCOMES,
            ),
            Graph(
                "Attempts that ended",
                "By outcome and reason. Returned ones do not count as attempts.",
                (
                    Query(
                        per_minute("projectsetup_attempts_ended_total", "outcome", "reason"), "{{outcome}}: {{reason}}"
                    ),
                ),
                PER_MINUTE,
                stacked=True,
                colors=_OUTCOMES,
            ),
            Graph(
                "Starts, retries, requests",
                "Attempts started, attempts that follow a failed one, and what people asked for.",
                (
                    Query(per_minute("projectsetup_attempts_started_total"), "started"),
                    Query(per_minute("projectsetup_retries_total"), "retries"),
                    Query(per_minute("projectsetup_retry_requests_total", "result"), "retry asked for: {{result}}"),
                    Query(per_minute("projectsetup_cancel_requests_total", "result"), "cancel asked for: {{result}}"),
                ),
                PER_MINUTE,
            ),
        ),
    ),
    Row(
        "Queue",
        (
            Graph(
                "Waiting by priority",
                "Setups that wait for a slot, priority 0 first, and those that wait for a Secret or recipe.",
                (
                    Query("sum by (priority) (projectsetup_queue_depth)", "priority {{priority}}"),
                    Query("sum(projectsetup_awaiting_dependency)", "for a Secret or recipe"),
                ),
                NUMBER,
                stacked=True,
            ),
            Graph(
                "Time in the queue",
                "From when an attempt could start until it did.",
                tuple(Query(quantile(share, _WAITS), f"p{share * 100:.0f}") for share in (0.5, 0.9, 0.99)),
                SECONDS,
            ),
            Graph(
                "Slots",
                "A slot is taken until the end of its attempt is told.",
                (
                    Query("max(projectsetup_slots)", "slots"),
                    Query("sum(projectsetup_slots_taken)", "taken"),
                    Query("sum(projectsetup_running)", "running"),
                ),
                NUMBER,
            ),
        ),
    ),
    Row(
        "Recipes",
        (
            Graph(
                "Where the time goes",
                "Mean time of each step; together about that of an attempt.",
                (Query(mean(_STEPS, "recipe", "step"), "{{recipe}}: {{step}}"),),
                SECONDS,
                stacked=True,
            ),
            Graph(
                "Slow steps",
                "95 % of the steps took no longer.",
                (Query(quantile(0.95, _STEPS, "recipe", "step"), "{{recipe}}: {{step}}"),),
                SECONDS,
            ),
            Graph(
                "Attempts that succeed",
                "Half of them, and 95 % of them, took no longer.",
                (
                    Query(quantile(0.5, _ATTEMPTS, "recipe"), "{{recipe}}: p50"),
                    Query(quantile(0.95, _ATTEMPTS, "recipe"), "{{recipe}}: p95"),
                ),
                SECONDS,
            ),
        ),
    ),
    Row(
        "Operator",
        (
            Graph(
                "Age of the watches",
                "Since when a watch was last known to be up to date. It stays below about 70 s.",
                (Query("max by (resource) (projectsetup_watch_age_seconds)", "{{resource}}"),),
                SECONDS,
            ),
            Graph(
                "Writes to the API server",
                "All requests that change something.",
                (
                    Query(
                        "sum by (resource, verb) (rate(projectsetup_api_writes_total[$__rate_interval]))",
                        "{{verb}} {{resource}}",
                    ),
                ),
                PER_SECOND,
                stacked=True,
            ),
            Graph(
                "Who leads",
                "1 for the operator that leads.",
                (Query("projectsetup_leading", "{{instance}}"),),
                NUMBER,
            ),
            Graph(
                "Writes that failed",
                "Conflicts are part of the work: the object has changed meanwhile.",
                (
                    Query(
                        "sum by (resource, result)"
                        ' (rate(projectsetup_api_writes_total{result!="ok"}[$__rate_interval]))',
                        "{{resource}}: {{result}}",
                    ),
                ),
                PER_SECOND,
            ),
            Graph(
                "Database",
                "Calls that the database did not answer.",
                (Query(per_minute("projectsetup_database_errors_total", "kind"), "{{kind}}"),),
                PER_MINUTE,
            ),
            Graph(
                "Looks that have to be repeated",
                "The API server has failed the operator, or it has a bug.",
                (Query(per_minute("projectsetup_reconcile_failures_total"), "repeated"),),
                PER_MINUTE,
            ),
        ),
    ),
)
