"""Where setups are: one in a line or in detail, many in a table; and the command `status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rich.text import Text

from projectsetup.api.durations import format_duration, lasting
from projectsetup.api.models import AttemptRecord, ProjectSetupResource, parse_resource
from projectsetup.api.reasons import Phase
from projectsetup.cli.names import ProjectRef, find_setup
from projectsetup.cli.output import Format, full_name, say, write_data, write_text
from projectsetup.cli.tables import fields, moment, table
from projectsetup.kube.client import Body
from projectsetup.kube.connection import Kubeconfig
from projectsetup.kube.setups import SetupClient

COLUMNS: Final = (
    "ID", "PROJECT", "PHASE", "STATUS", "STEP", "PROGRESS", "ATTEMPT", "PRIORITY", "AGE", "REASON", "MESSAGE",
)  # fmt: skip
SPARE: Final = ("PRIORITY", "STATUS", "REASON", "ATTEMPT", "MESSAGE", "AGE", "STEP")
"""Columns that a narrow terminal loses, in this order."""
ELASTIC: Final = "PROJECT"
"""The column that a narrow terminal cuts before it loses others."""
_LIVE_ORDER: Final = (
    Phase.RUNNING, Phase.BACKING_OFF, Phase.QUEUED, Phase.SUSPENDED, Phase.FAILED, Phase.CANCELLED, Phase.SUCCEEDED,
)  # fmt: skip
_OTHER_LINES: Final = 3
"""Lines of a screen beside the rows: the header, the counts and the cursor."""
BAR_WIDTH: Final = 12


@dataclass(frozen=True, slots=True)
class Ended:
    """How a setup ended."""

    succeeded: bool
    message: str


def ended(resource: ProjectSetupResource) -> Ended | None:
    """How the setup ended; None if it has not, or if a retry was requested that the operator has not handled yet."""
    condition = resource.condition
    if condition is None or not resource.is_over:
        return None
    if resource.succeeded:
        return Ended(succeeded=True, message=condition.message)
    if resource.retry_is_new:
        return None
    return Ended(succeeded=False, message=f"{condition.reason}: {condition.message}")


def summary(resource: ProjectSetupResource, now: datetime) -> str:
    """Where the setup is, in one line."""
    status = resource.status
    condition = resource.condition
    if condition is None or status.phase is None:
        return "waiting for the operator"
    if condition.status == "False" and resource.retry_is_new:
        return f"{status.phase}, retry requested, waiting for the operator"
    if status.phase is Phase.RUNNING:
        number = attempt(resource) if status.attempt else ""
        return running_line(status.project_status or "", status.step or "", status.progress or "", number)
    words = [str(status.phase)]
    if status.attempt:
        words.append(f"attempt {attempt(resource)}")
    if status.phase is Phase.BACKING_OFF and status.next_attempt_at is not None:
        words.append(f"next in {lasting(status.next_attempt_at - now)}")
    line = ", ".join(words)
    return f"{line}: {condition.message}" if condition.message else line


def running_line(project_status: str, step: str, progress: str, number: str) -> str:
    """A running attempt in one line; parts that are empty are left out. `number`: such as `1/3`."""
    parts = (str(Phase.RUNNING), project_status, step, progress, number and f"attempt {number}")
    return ", ".join(filter(None, parts))


def named(resource: ProjectSetupResource, line: str) -> str:
    """The line after the project's name, if that is known."""
    return f"{resource.project_name}: {line}" if resource.project_name else line


def progress_bar(resource: ProjectSetupResource) -> str:
    """The progress of a running setup as a bar, such as `━━━━━━━━──── 4/6`; empty for other phases."""
    done, _, total = (resource.status.progress or "").partition("/")
    if resource.status.phase is not Phase.RUNNING or not (done.isdecimal() and total.isdecimal() and int(total)):
        return ""
    filled = min(BAR_WIDTH * int(done) // int(total), BAR_WIDTH)
    return f"{'━' * filled}{'─' * (BAR_WIDTH - filled)} {resource.status.progress}"


def live_summary(resource: ProjectSetupResource, now: datetime) -> str:
    """`summary`, but a running setup has a bar and the time it has been running."""
    started, bar = resource.status.started_at, progress_bar(resource)
    if not bar or started is None:
        return summary(resource, now)
    return f"{bar}  {resource.status.step or ''}, attempt {attempt(resource)}, {lasting(now - started)}"


def attempt(resource: ProjectSetupResource) -> str:
    """Attempts started and their limit, such as `1/3`."""
    status = resource.status
    limit = status.max_attempts or (resource.tuning.max_attempts if resource.tuning else None)
    return f"{status.attempt}/{limit or '?'}"


async def show_all(kubeconfig: Kubeconfig, namespace: str | None, output: Format) -> None:
    """Print the ProjectSetups of one namespace, or of all."""
    async with SetupClient.connected(kubeconfig) as setups:
        bodies = await setups.list(namespace)
    if output is not Format.TABLE:
        value = {"apiVersion": "v1", "kind": "List", "items": [without_managed_fields(body) for body in bodies]}
        write_data(value, output, names=[full_name(body["metadata"]["name"]) for body in bodies])
    elif bodies:
        write_text(overview(map(parse_resource, bodies), datetime.now(UTC), with_namespace=namespace is None))
    else:
        say(f"no ProjectSetups found{f' in namespace {namespace}' if namespace else ''}")


async def show_one(kubeconfig: Kubeconfig, namespace: str | None, project: ProjectRef, output: Format) -> None:
    """Print the ProjectSetup of a project; SetupNotFound, CommandError."""
    async with SetupClient.connected(kubeconfig) as setups:
        body = await setups.get(*await find_setup(setups, project, namespace))
    if output is not Format.TABLE:
        write_data(without_managed_fields(body), output, names=[full_name(body["metadata"]["name"])])
    else:
        write_text(detail(parse_resource(body), datetime.now(UTC)))


def row(resource: ProjectSetupResource, now: datetime, *, bar: bool = False) -> tuple[str, ...]:
    """The cells of `COLUMNS`; with `bar`, the progress of a running setup as a bar."""
    status, condition = resource.status, resource.condition
    return (
        resource.name,
        resource.project_name or "",
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
    """A table of ProjectSetups, oldest first; with `only`, just the rows with these keys."""
    ordered = sorted(resources, key=lambda resource: (resource.created_at, *resource.key))
    rows = [((r.namespace,) if with_namespace else ()) + row(r, now) for r in ordered]
    columns = (("NAMESPACE",) if with_namespace else ()) + COLUMNS
    numbers = None if only is None else [number for number, r in enumerate(ordered) if r.key in only]
    return table(columns, rows, only=numbers, spare=SPARE, elastic=ELASTIC)


def live_overview(
    resources: Iterable[ProjectSetupResource], now: datetime, *, with_namespace: bool, height: int
) -> Text:
    """As many ProjectSetups as fit in `height` lines, active ones first, and the number in each phase."""
    ordered = sorted(resources, key=_urgency)
    limit = max(height - _OTHER_LINES, 1)
    rows = [((r.namespace,) if with_namespace else ()) + row(r, now, bar=True) for r in ordered[:limit]]
    text = table((("NAMESPACE",) if with_namespace else ()) + COLUMNS, rows, spare=SPARE, elastic=ELASTIC)
    more = f"… and {len(ordered) - limit} more; " if len(ordered) > limit else ""
    return text.append(f"\n{more}{_phase_counts(ordered)}", style="dim")


def _urgency(resource: ProjectSetupResource) -> tuple[object, ...]:
    """Phases in the order of `_LIVE_ORDER`; within a phase, the last to end or the next to start comes first."""
    phase = resource.status.phase or Phase.QUEUED
    finished = resource.status.finished_at
    return _LIVE_ORDER.index(phase), -finished.timestamp() if finished else 0, resource.rank


def _phase_counts(resources: Sequence[ProjectSetupResource]) -> str:
    counts = Counter(str(resource.status.phase or "pending") for resource in resources)
    parts = [f"{counts[name]} {name}" for name in (*map(str, _LIVE_ORDER), "pending") if counts[name]]
    return ", ".join(parts) or "no ProjectSetups"


def looks_the_same(one: ProjectSetupResource, other: ProjectSetupResource) -> bool:
    """Whether their rows differ only in the age."""
    return row(one, one.created_at) == row(other, other.created_at)


def detail(resource: ProjectSetupResource, now: datetime, *, bar: bool = False) -> Text:
    """One ProjectSetup with its conditions and attempts; with `bar`, its progress as a bar."""
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
        "Project": resource.project_name,
        "ID": resource.name,
        "Namespace": resource.namespace,
        "Phase": str(status.phase or ""),
        "Reason": condition.reason if condition else "",
        "Message": condition.message if condition else summary(resource, now),
        "Problem": resource.problem,
        "Status": status.project_status,
        "Step": " ".join(filter(None, (status.step, progress))),
        "Attempt": attempt(resource),
        **_settings(resource),
        "Created": moment(resource.created_at, now),
        "Queued": moment(status.queued_at, now),
        "Started": moment(status.started_at, now),
        "Finished": moment(status.finished_at, now),
        "Next attempt": moment(status.next_attempt_at, now),
        "Run": f"{run.engine} {run.name}" if run else "",
        "Failure": _failure(resource),
        "Output": f"projectsetup logs {resource.name}" if status.attempt or status.attempts else "",
        "Code commit": commits.code_repo if commits else "",
        "Docs commit": commits.docs_repo if commits else "",
    }


def _settings(resource: ProjectSetupResource) -> dict[str, object]:
    spec, tuning = resource.spec, resource.tuning
    settings: dict[str, object] = {}
    if spec is not None:
        settings |= {
            "Recipe": spec.recipe,
            "Parameters": ", ".join(f"{name}={value}" for name, value in sorted(spec.parameters.items())),
            "Credentials": f"Secret {spec.credentials_secret_ref.name}" if spec.credentials_secret_ref else "",
            "Suspended": "yes" if spec.suspend else "",
            "Timeout": f"{format_duration(spec.timeout)} per attempt",
        }
    if tuning is not None:
        settings |= {
            "Priority": tuning.priority,
            "Backoff": f"{format_duration(tuning.backoff)} to {format_duration(tuning.backoff_max)}",
        }
    return settings


def _failure(resource: ProjectSetupResource) -> str:
    failure = resource.status.failure
    if failure is None:
        return ""
    step = f" in step {failure.step}" if failure.step else ""
    code = f", exit code {failure.exit_code}" if failure.exit_code is not None else ""
    condition = resource.condition
    is_known = condition is not None and failure.message in condition.message
    return f"{failure.reason}{step}{code}" + ("" if is_known else f": {failure.message}")


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


def without_managed_fields(body: Body) -> Body:
    """The object as kubectl prints it."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return body | {"metadata": metadata}
