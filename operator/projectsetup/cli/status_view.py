"""How ProjectSetups look to people: a row each, or one in detail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final

from rich.text import Text

from projectsetup.api.constants import GROUP, SINGULAR
from projectsetup.api.durations import format_duration, lasting
from projectsetup.api.models import AttemptRecord, ProjectSetupResource
from projectsetup.api.reasons import Phase
from projectsetup.cli.progress import attempt, progress_bar, summary
from projectsetup.cli.tables import fields, table
from projectsetup.cli.times import moment
from projectsetup.kube.raw import Body

COLUMNS: Final = (
    "ID", "PHASE", "STATUS", "STEP", "PROGRESS", "ATTEMPT", "PRIORITY", "AGE", "REASON", "MESSAGE",
)  # fmt: skip
SPARE: Final = ("PRIORITY", "STATUS", "REASON", "ATTEMPT", "MESSAGE", "AGE", "STEP")
"""What a narrow terminal does without, the first one first."""
_LIVE: Final = (
    Phase.RUNNING, Phase.BACKING_OFF, Phase.QUEUED, Phase.SUSPENDED, Phase.FAILED, Phase.CANCELLED, Phase.SUCCEEDED,
)  # fmt: skip
_LINES_BESIDES: Final = 3
"""Of a screen: the header, the count, and the line of the cursor."""


def row(resource: ProjectSetupResource, now: datetime, *, bar: bool = False) -> tuple[str, ...]:
    """The cells of `COLUMNS`; with `bar`, the progress of what runs as a bar."""
    status, condition = resource.status, resource.condition
    return (
        resource.name,
        str(status.phase or ""),
        status.project_status or "",
        status.step or "",
        (progress_bar(resource) if bar else "") or status.progress or "",
        attempt(resource),
        str(resource.tuning.priority) if resource.tuning else "?",
        lasting(now - resource.created_at),
        condition.reason if condition else "",
        condition.message if condition else resource.problem or "",
    )


def overview(
    resources: Iterable[ProjectSetupResource],
    now: datetime,
    *,
    with_namespace: bool,
    only: Collection[tuple[str, str]] | None = None,
) -> Text:
    """A table of ProjectSetups, oldest first; with `only`, the rows of these namespaces and names alone."""
    ordered = sorted(resources, key=lambda resource: (resource.created_at, *resource.key))
    rows = [((r.namespace,) if with_namespace else ()) + row(r, now) for r in ordered]
    columns = (("NAMESPACE",) if with_namespace else ()) + COLUMNS
    numbers = None if only is None else [place for place, r in enumerate(ordered) if r.key in only]
    return table(columns, rows, only=numbers, spare=SPARE)


def live_overview(
    resources: Iterable[ProjectSetupResource], now: datetime, *, with_namespace: bool, height: int
) -> Text:
    """What matters first, as much of it as so many lines hold, and how many there are of each phase."""
    ordered = sorted(resources, key=_urgency)
    places = max(height - _LINES_BESIDES, 1)
    rows = [((r.namespace,) if with_namespace else ()) + row(r, now, bar=True) for r in ordered[:places]]
    text = table((("NAMESPACE",) if with_namespace else ()) + COLUMNS, rows, spare=SPARE)
    more = f"… and {len(ordered) - places} more; " if len(ordered) > places else ""
    return text.append(f"\n{more}{_census(ordered)}", style="dim")


def _urgency(resource: ProjectSetupResource) -> tuple[object, ...]:
    """Phases in the order of `_LIVE`; what waits in the order in which it starts, what is over the latest first."""
    phase = resource.status.phase or Phase.QUEUED
    finished = resource.status.finished_at
    return _LIVE.index(phase), -finished.timestamp() if finished else 0, resource.rank


def _census(resources: Sequence[ProjectSetupResource]) -> str:
    numbers = Counter(str(resource.status.phase or "unseen") for resource in resources)
    counted = [f"{numbers[name]} {name}" for name in (*map(str, _LIVE), "unseen") if numbers[name]]
    return ", ".join(counted) or "no ProjectSetups"


def looks_the_same(one: ProjectSetupResource, other: ProjectSetupResource) -> bool:
    """Whether their rows differ in nothing but the age."""
    return row(one, one.created_at) == row(other, other.created_at)


def detail(resource: ProjectSetupResource, now: datetime, *, bar: bool = False) -> Text:
    """One ProjectSetup with all that its status tells; with `bar`, its progress as a bar."""
    text = fields(_fields(resource, now, (progress_bar(resource) if bar else "") or resource.status.progress))
    if resource.status.conditions:
        conditions = [
            (c.type, c.status, c.reason, lasting(now - c.last_transition_time)) for c in resource.status.conditions
        ]
        text.append("\n\n").append_text(table(("CONDITION", "STATUS", "REASON", "SINCE"), conditions))
    if resource.status.attempts:
        attempts = [_attempt_row(record, now) for record in resource.status.attempts]
        columns = ("ATTEMPT", "OUTCOME", "REASON", "STEP", "STARTED", "TOOK", "MESSAGE")
        text.append("\n\n").append_text(table(columns, attempts))
    return text


def _fields(resource: ProjectSetupResource, now: datetime, progress: str | None) -> dict[str, object]:
    status, condition = resource.status, resource.condition
    commits, run = status.commits, status.run_ref
    return {
        "Project": resource.name,
        "Namespace": resource.namespace,
        "Phase": str(status.phase or ""),
        "Reason": condition.reason if condition else "",
        "Message": condition.message if condition else summary(resource, now),
        "Problem": resource.problem,
        "Status": status.project_status,
        "Step": " ".join(filter(None, (status.step, progress))),
        "Attempt": attempt(resource),
        **_wishes(resource),
        "Created": moment(resource.created_at, now),
        "Queued": moment(status.queued_at, now),
        "Started": moment(status.started_at, now),
        "Finished": moment(status.finished_at, now),
        "Next attempt": moment(status.next_attempt_at, now),
        "Run": f"{run.engine} {run.name}" if run else "",
        "Failure": _failure(resource),
        "Code commit": commits.code_repo if commits else "",
        "Docs commit": commits.docs_repo if commits else "",
    }


def _wishes(resource: ProjectSetupResource) -> dict[str, object]:
    spec, tuning = resource.spec, resource.tuning
    wishes: dict[str, object] = {}
    if spec is not None:
        wishes |= {
            "Recipe": spec.recipe,
            "Parameters": ", ".join(f"{name}={value}" for name, value in sorted(spec.parameters.items())),
            "Credentials": f"Secret {spec.credentials_secret_ref.name}" if spec.credentials_secret_ref else "",
            "Suspended": "yes" if spec.suspend else "",
            "Timeout": f"{format_duration(spec.timeout)} an attempt",
        }
    if tuning is not None:
        wishes |= {
            "Priority": tuning.priority,
            "Backoff": f"{format_duration(tuning.backoff)} to {format_duration(tuning.backoff_max)}",
        }
    return wishes


def _failure(resource: ProjectSetupResource) -> str:
    failure = resource.status.failure
    if failure is None:
        return ""
    step = f" in step {failure.step}" if failure.step else ""
    code = f", exit code {failure.exit_code}" if failure.exit_code is not None else ""
    condition = resource.condition
    is_told = condition is not None and failure.message in condition.message
    return f"{failure.reason}{step}{code}" + ("" if is_told else f": {failure.message}")


def _attempt_row(record: AttemptRecord, now: datetime) -> tuple[object, ...]:
    return (
        record.number,
        str(record.outcome),
        record.reason,
        record.step or "",
        f"{lasting(now - record.started_at)} ago",
        lasting(record.finished_at - record.started_at),
        record.message,
    )


def full_name(name: str) -> str:
    """How `-o name` tells of it: `projectsetup.codemyspec.com/ID`."""
    return f"{SINGULAR}.{GROUP}/{name}"


def presentable(body: Body) -> Body:
    """The object without the fields that, as with kubectl, nobody wants to read."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return body | {"metadata": metadata}
