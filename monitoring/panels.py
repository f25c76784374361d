"""The panels of the dashboard and their queries.

`$recipe` holds the selected recipes; Grafana defines `$__rate_interval` and `$__range`.
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
    """A PromQL expression and the legend of its series."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A single current value; `steps` are the thresholds of its colours."""

    title: str
    description: str
    query: Query
    unit: str = NUMBER
    steps: Sequence[tuple[float, str]] = ()
    words: Sequence[tuple[str, str]] = ()
    """Texts shown instead of values."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A time series; `stacked` where the sum is meaningful."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: str
    stacked: bool = False
    colors: Mapping[str, str] = field(default_factory=dict)
    """Colours by the first word of a series name; each series gets its own shade."""


@dataclass(frozen=True, slots=True)
class Row:
    """A titled row of panels."""

    title: str
    panels: Sequence[Figure | Graph]


def per_minute(metric: str, *labels: str) -> str:
    """The increase of a counter per minute, by these labels."""
    return f"60 * sum{_by(labels)} (rate({metric}[$__rate_interval]))"


def quantile(share: float, metric: str, *labels: str) -> str:
    """A quantile of a histogram, by these labels."""
    return f"histogram_quantile({share}, sum{_by(('le', *labels))} (rate({_bucket(metric)}[$__rate_interval])))"


def mean(metric: str, *labels: str) -> str:
    """The mean of a histogram, by these labels."""
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
                "Operators that hold the leader lease; must be 1.",
                Query("sum(projectsetup_leading) or vector(0)"),
                steps=((0, "red"), (1, "green"), (2, "red")),
            ),
            Figure("Running", "Running attempts.", Query("sum(projectsetup_running)")),
            Figure("Waiting", "Setups waiting for a slot.", Query("sum(projectsetup_queue_depth)")),
            Figure(
                "Longest wait",
                "Age of the oldest setup in the queue.",
                Query("max(projectsetup_queue_oldest_seconds)"),
                unit=SECONDS,
                steps=((0, "green"), (900, "orange"), (3600, "red")),
            ),
            Figure(
                "Succeeded",
                "Share of the setups that finished in the selected time range.",
                Query(
                    'sum(increase(projectsetup_setups_ended_total{outcome="Succeeded"}[$__range]))'
                    " / sum(increase(projectsetup_setups_ended_total[$__range]))"
                ),
                unit=SHARE,
                steps=((0, "red"), (0.8, "orange"), (0.95, "green")),
            ),
            Figure(
                "Queue",
                "Whether new attempts can start.",
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
                "Finished setups",
                "By outcome and reason, as recorded in .status.",
                (Query(per_minute("projectsetup_setups_ended_total", "outcome", "reason"), "{{outcome}}: {{reason}}"),),
                PER_MINUTE,
                stacked=True,
                colors=_OUTCOMES,
            ),
            Graph(
                "Finished attempts",
                "By outcome and reason. Returned attempts do not count against the limit.",
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
                "Starts, retries and requests",
                "Attempts started, automatic retries, and retries and cancellations requested by users.",
                (
                    Query(per_minute("projectsetup_attempts_started_total"), "started"),
                    Query(per_minute("projectsetup_retries_total"), "retries"),
                    Query(per_minute("projectsetup_retry_requests_total", "result"), "retry requested: {{result}}"),
                    Query(per_minute("projectsetup_cancel_requests_total", "result"), "cancel requested: {{result}}"),
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
                "Setups waiting for a slot (priority 0 is highest) or for a Secret or recipe, and pending requests.",
                (
                    Query("sum by (priority) (projectsetup_queue_depth)", "priority {{priority}}"),
                    Query("sum(projectsetup_awaiting_dependency)", "waiting for a Secret or recipe"),
                    Query("sum(projectsetup_intake_pending)", "requested by an application, not created yet"),
                ),
                NUMBER,
                stacked=True,
            ),
            Graph(
                "Time in the queue",
                "From the moment an attempt could start until it does; and the age of the oldest pending request.",
                (
                    *(Query(quantile(share, _WAITS), f"p{share * 100:.0f}") for share in (0.5, 0.9, 0.99)),
                    Query("max(projectsetup_intake_oldest_seconds)", "oldest request of an application"),
                ),
                SECONDS,
            ),
            Graph(
                "Slots",
                "An attempt holds its slot until its result is recorded in .status. Limits can leave slots free.",
                (
                    Query("max(projectsetup_slots)", "slots"),
                    Query("sum(projectsetup_slots_taken)", "taken"),
                    Query("sum(projectsetup_running)", "running"),
                    Query("sum by (limit) (projectsetup_queue_limited)", "waiting for the limit of a {{limit}}"),
                ),
                NUMBER,
            ),
        ),
    ),
    Row(
        "Recipes",
        (
            Graph(
                "Mean step duration",
                "The stacked sum is close to the duration of an attempt.",
                (Query(mean(_STEPS, "recipe", "step"), "{{recipe}}: {{step}}"),),
                SECONDS,
                stacked=True,
            ),
            Graph(
                "Step duration, p95",
                "95 % of the steps finished within this time.",
                (Query(quantile(0.95, _STEPS, "recipe", "step"), "{{recipe}}: {{step}}"),),
                SECONDS,
            ),
            Graph(
                "Duration of successful attempts",
                "Median and 95th percentile.",
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
                "Watch age",
                "Time since each watch was last confirmed up to date. Normally below 70 s.",
                (Query("max by (resource) (projectsetup_watch_age_seconds)", "{{resource}}"),),
                SECONDS,
            ),
            Graph(
                "API server writes",
                "All mutating requests.",
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
                "Leader",
                "1 for the operator that holds the leader lease; the legend shows its version.",
                (
                    Query(
                        "projectsetup_leading * on (instance) group_left (version) projectsetup_build_info",
                        "{{instance}} ({{version}})",
                    ),
                ),
                NUMBER,
            ),
            Graph(
                "Failed API server writes",
                "Conflicts are normal: the object changed between read and write.",
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
                "Database errors",
                "Failed database calls, by kind.",
                (Query(per_minute("projectsetup_database_errors_total", "kind"), "{{kind}}"),),
                PER_MINUTE,
            ),
            Graph(
                "Reconcile retries",
                "Reconciliations that failed because of an API server error or a bug, and are retried.",
                (Query(per_minute("projectsetup_reconcile_failures_total"), "retries"),),
                PER_MINUTE,
            ),
        ),
    ),
)
