"""The outcome of an attempt: what the termination messages of its stages report, and what the end of its pod means.

Steps are judged by the same function as those of the local engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from projectsetup.api.durations import format_duration
from projectsetup.api.reasons import Reason
from projectsetup.engines.kubernetes_job.objects import container_statuses, termination, true_conditions
from projectsetup.recipes.patterns import is_output_pattern
from projectsetup.setup.outcome import (
    SHELL_SIGNAL_BASE,
    StepResult,
    TimeLimit,
    cut,
    message_with_output,
    signal_from_exit_code,
    step_outcome,
    timeout_message,
)
from projectsetup.setup.output import CODE_COMMIT, DOCS_COMMIT, StepOutput, read_outputs
from projectsetup.setup.types import HEALTHY, InfrastructureError, SetupFailed, SetupOutcome, SetupSucceeded, Volume

if TYPE_CHECKING:
    from projectsetup.engines.kubernetes_job.client import Body
    from projectsetup.engines.kubernetes_job.plan import Plan, PlannedStep
    from projectsetup.setup.scrub import Scrubber

OUT_OF_MEMORY: Final = "OOMKilled"
STEP_TIMED_OUT: Final = 124
NOTHING_COULD_RUN: Final = 125
"""Exit codes of a stage's script: a step exceeded its timeout, or the script can run no step at all."""

_MARKER: Final = re.compile(rb"\[projectsetup\] step ([a-z0-9-]{1,63}) \(\d+/\d+\)\r?\n?")
_HEAD: Final = re.compile(
    r"step=(?P<step>[a-z0-9-]{1,63})\nexit=(?P<code>\d{1,3})\n(?P<late>timeout=1\n)?(?P<stopped>stopped=1\n)?"
    r"(?P<full>full=1\n)?(?P<readonly>readonly=1\n)?(?P<noexec>noexec=1\n)?"
)
_MATCH: Final = "match="
_ENDED_FROM_OUTSIDE: Final = frozenset({Reason.STEP_KILLED, Reason.INTERRUPTED, Reason.ENGINE_ERROR})


@dataclass(frozen=True, slots=True)
class StageReport:
    """The termination message of a stage: its last step, how that ended, and the facts of its steps.

    `stopped`: it ended after the pod had received SIGTERM, so its exit code means little. `matches` are output lines in
    which the failed step's `retry` may find something, `tail` is the end of its output; both are as printed. `volume`
    is the file system of the workspace after a failure.
    """

    step: str
    exit_code: int
    timed_out: bool
    stopped: bool
    outputs: Mapping[str, str]
    matches: tuple[str, ...]
    tail: str
    volume: Volume = HEALTHY


def announced_step(line: bytes) -> str | None:
    """Return the name of the step that this line of a container's log announces; None for any other line."""
    match = _MARKER.fullmatch(line)
    return match[1].decode() if match else None


def last_announced_step(log: str) -> str | None:
    """Return the last step that these lines announce."""
    announced = (announced_step(line.encode()) for line in reversed(log.splitlines()))
    return next((step for step in announced if step is not None), None)


def read_report(message: str) -> StageReport | None:
    """Read a termination message; None if it holds no report, for example since the script was killed."""
    head = _HEAD.match(message)
    if head is None:
        return None
    above, _, tail = message[head.end() - 1 :].partition("\n\n")
    matches = tuple(line.removeprefix(_MATCH) for line in above.splitlines() if line.startswith(_MATCH))
    succeeded = int(head["code"]) == 0
    outputs = read_outputs(message[head.end() :].encode()).facts if succeeded else {}
    return StageReport(
        step=head["step"],
        exit_code=int(head["code"]),
        timed_out=head["late"] is not None,
        stopped=head["stopped"] is not None,
        outputs=outputs,
        matches=matches,
        tail="" if succeeded else tail,
        volume=Volume(*(head[wrong] is not None for wrong in ("full", "readonly", "noexec"))),
    )


def pod_outcome(
    job: Body, pod: Body, *, plan: Plan, scrubber: Scrubber, at_step: str | None
) -> SetupOutcome | InfrastructureError:
    """Return what the end of a pod means that was not disrupted; `at_step` is the last step that its log announced."""
    containers = container_statuses(pod)
    facts: dict[str, str] = {}
    for stage in plan.stages:
        end = termination(containers.get(stage.name))
        if end is None:
            break
        report = _credible_report(end)
        if report is not None and (report.step, report.exit_code) == (stage.steps[-1].name, 0):
            facts |= report.outputs
            continue
        failure = _stage_failure(end, report, stage.steps, scrubber)
        return _after_deadline(plan, failure, at_step) if _exceeded_deadline(job) else failure
    else:
        return SetupSucceeded(facts.get(CODE_COMMIT), facts.get(DOCS_COMMIT))
    if _exceeded_deadline(job):
        return deadline_exceeded(plan, at_step)
    return _pod_failure(pod, at_step)


def job_failure(job: Body, plan: Plan, at_step: str | None, why_not_started: str | None) -> InfrastructureError:
    """Return what the end of a Job means if none of its pods has reported."""
    if _exceeded_deadline(job) and at_step is None:
        why = why_not_started or "no reason given"
        return InfrastructureError(Reason.ENGINE_ERROR, cut(f"the pod did not start in time: {why}"))
    if _exceeded_deadline(job):
        return deadline_exceeded(plan, at_step)
    failed = [f"{c.get('reason')}: {c.get('message')}" for c in true_conditions(job) if c.get("type") == "Failed"]
    why = f"the Job failed: {failed[0]}" if failed else "the Job's pod was deleted before its report was read"
    return InfrastructureError(Reason.ENGINE_ERROR, cut(why), step=at_step)


def not_started(plan: Plan, why: str | None) -> InfrastructureError:
    """Return the failure of an attempt whose time ran out before a step began."""
    allowed = format_duration(timedelta(seconds=plan.timeout))
    return InfrastructureError(Reason.ENGINE_ERROR, cut(f"no step began within {allowed}: {why or 'no reason given'}"))


def deadline_exceeded(plan: Plan, at_step: str | None) -> InfrastructureError:
    """Return the failure of an attempt whose time has run out."""
    step = next((step for step in plan.steps if step.name == at_step), plan.steps[0])
    message = timeout_message(step, TimeLimit(plan.timeout, of_attempt=True))
    return InfrastructureError(Reason.STEP_TIMED_OUT, message, step=step.name)


def _exceeded_deadline(job: Body) -> bool:
    return any(condition.get("reason") == "DeadlineExceeded" for condition in true_conditions(job))


def _after_deadline(
    plan: Plan, failure: SetupFailed | InfrastructureError, at_step: str | None
) -> SetupFailed | InfrastructureError:
    """The deadline ended what was running; a step that had ended by itself before keeps its own outcome."""
    if isinstance(failure, SetupFailed) or failure.reason not in _ENDED_FROM_OUTSIDE:
        return failure
    return deadline_exceeded(plan, failure.step or at_step)


def _credible_report(end: Body) -> StageReport | None:
    """The report of a stage if it agrees with the exit code of the container, since a step may print anything."""
    report = read_report(end.get("message") or "")
    if report is None:
        return None
    expected = STEP_TIMED_OUT if report.timed_out else report.exit_code
    return report if end.get("exitCode") == expected else None


def _stage_failure(
    end: Body, report: StageReport | None, steps: tuple[PlannedStep, ...], scrubber: Scrubber
) -> SetupFailed | InfrastructureError:
    oom = end.get("reason") == OUT_OF_MEMORY
    if report is None or report.exit_code == 0:
        return _failure_without_report(end, steps, scrubber, oom=oom)
    step = next((step for step in steps if step.name == report.step), None)
    if step is None:
        message = f"container {steps[0].name} reported step {report.step}, which it does not have"
        return InfrastructureError(Reason.ENGINE_ERROR, message)
    if report.stopped and not report.timed_out:
        head = f"step {step.name} was interrupted: its pod was deleted"
        message = message_with_output(head, _tail(report.tail, scrubber))
        return InfrastructureError(Reason.INTERRUPTED, message, step=step.name, exit_code=report.exit_code)
    patterns = [*filter(is_output_pattern, step.retry.output)]  # a plan of an older version may have others
    output = StepOutput(scrubber, retry=patterns, cut=True)
    output.feed("".join(f"{line}\n" for line in report.matches).encode())
    output.feed(report.tail.encode())
    output.close()
    signal = signal_from_exit_code(report.exit_code, step)
    result = StepResult(
        exit_code=report.exit_code if signal is None else None,
        signal=signal,
        timed_out=report.timed_out,
        oom=oom and signal is not None,
        tail=_tail(report.tail, scrubber),
        matched_retry_line=output.matched,
        volume=report.volume,
    )
    outcome = step_outcome(step, result, TimeLimit(step.timeout.total_seconds()))
    if isinstance(outcome, SetupFailed | InfrastructureError):
        return outcome
    raise AssertionError("a failed step counted as done")


def _tail(text: str, scrubber: Scrubber) -> tuple[str, ...]:
    output = StepOutput(scrubber, cut=True)
    output.feed(text.encode())
    output.close()
    return output.tail


def _failure_without_report(
    end: Body, steps: tuple[PlannedStep, ...], scrubber: Scrubber, *, oom: bool
) -> InfrastructureError:
    """The container ended before its script could report: its message holds the current step at most, or an error."""
    text, code = end.get("message") or "", end.get("exitCode")
    step = last_announced_step(text) or steps[0].name
    tail = _tail("".join(f"{line}\n" for line in text.splitlines() if announced_step(line.encode()) is None), scrubber)
    if oom:
        return InfrastructureError(
            Reason.STEP_KILLED, message_with_output(f"step {step} ran out of memory", tail), step=step
        )
    if code == NOTHING_COULD_RUN or end.get("reason") in {"ContainerCannotRun", "StartError"}:
        why = message_with_output(f"container {steps[0].name} could not run its steps", tail)
        return InfrastructureError(Reason.ENGINE_ERROR, why, step=step)
    if isinstance(code, int) and code <= SHELL_SIGNAL_BASE:
        head = f"container {steps[0].name} exited with code {code} without reporting on its steps"
        return InfrastructureError(Reason.ENGINE_ERROR, message_with_output(head, tail), step=step)
    how = f"step {step} was killed with its container (exit code {code}, {end.get('reason') or 'no reason given'})"
    return InfrastructureError(Reason.STEP_KILLED, message_with_output(how, tail), step=step)


def _pod_failure(pod: Body, at_step: str | None) -> InfrastructureError:
    status = pod.get("status") or {}
    why = status.get("message") or status.get("reason") or "no reason given"
    return InfrastructureError(
        Reason.ENGINE_ERROR, cut(f"pod {pod['metadata']['name']} ended early: {why}"), step=at_step
    )
