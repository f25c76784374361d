"""What the end of a Job's pod, or of the Job itself, means: judged as the local engine's steps are."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from projectsetup.api.durations import format_duration
from projectsetup.api.reasons import Reason
from projectsetup.engines.kubernetes_job.liveness import container_statuses, terminated, true_conditions
from projectsetup.engines.kubernetes_job.report import last_step_begun, read_report, step_begun
from projectsetup.setup.errors import InfrastructureError
from projectsetup.setup.judge import SHELL_ADDS, StepResult, TimeLimit, judge, signal_told_by, too_late
from projectsetup.setup.message import cut, message_with_output
from projectsetup.setup.outcome import SetupFailed, SetupOutcome, SetupSucceeded
from projectsetup.setup.output import StepOutput
from projectsetup.setup.outputs import CODE_COMMIT, DOCS_COMMIT

if TYPE_CHECKING:
    from projectsetup.engines.kubernetes_job.plan import Plan, PlannedStep
    from projectsetup.engines.kubernetes_job.ports import Body
    from projectsetup.engines.kubernetes_job.report import StageReport
    from projectsetup.setup.scrub import Scrubber

OUT_OF_MEMORY: Final = "OOMKilled"
STOPPED_FOR_ITS_TIMEOUT: Final = 124
NOTHING_COULD_RUN: Final = 125
"""The script of a stage ends with these when a step took too long, and when it cannot run any step."""

_ENDED_FROM_OUTSIDE: Final = frozenset({Reason.STEP_KILLED, Reason.INTERRUPTED, Reason.ENGINE_ERROR})


def exceeded_deadline(job: Body) -> bool:
    """Whether the Job was ended because its attempt took too long."""
    return any(condition.get("reason") == "DeadlineExceeded" for condition in true_conditions(job))


def end_of_pod(
    job: Body, pod: Body, *, plan: Plan, scrubber: Scrubber, at_step: str | None
) -> SetupOutcome | InfrastructureError:
    """What the end of a pod means that was not taken away by the cluster; `at_step` was told of last by its log."""
    containers = container_statuses(pod)
    facts: dict[str, str] = {}
    for stage in plan.stages:
        end = terminated(containers.get(stage.name))
        if end is None:
            break
        report = _report(end)
        if report is not None and (report.step, report.exit_code) == (stage.steps[-1].name, 0):
            facts |= report.outputs
            continue
        failed = _stage_failed(end, report, stage.steps, scrubber)
        return _too_late(plan, failed, at_step) if exceeded_deadline(job) else failed
    else:
        return SetupSucceeded(facts.get(CODE_COMMIT), facts.get(DOCS_COMMIT))
    if exceeded_deadline(job):
        return _too_late(plan, None, at_step)
    return _ended_as_a_whole(pod, at_step)


def end_of_job(job: Body, plan: Plan, at_step: str | None, why_not_started: str | None) -> InfrastructureError:
    """What the end of a Job means of which no pod tells how it ended."""
    if exceeded_deadline(job) and at_step is None:
        why = why_not_started or "no reason is told"
        return InfrastructureError(Reason.ENGINE_ERROR, cut(f"the pod did not start in time: {why}"))
    if exceeded_deadline(job):
        return end_by_deadline(plan, at_step)
    told = [f"{c.get('reason')}: {c.get('message')}" for c in true_conditions(job) if c.get("type") == "Failed"]
    why = f"the Job failed: {told[0]}" if told else "the pod of the Job was deleted before its report was read"
    return InfrastructureError(Reason.ENGINE_ERROR, cut(why), step=at_step)


def _report(end: Body) -> StageReport | None:
    """What the script of a stage told, if the end of its container bears that out: a step may print anything."""
    report = read_report(end.get("message") or "")
    if report is None:
        return None
    expected = STOPPED_FOR_ITS_TIMEOUT if report.timed_out else report.exit_code
    return report if end.get("exitCode") == expected else None


def _stage_failed(
    end: Body, report: StageReport | None, steps: tuple[PlannedStep, ...], scrubber: Scrubber
) -> SetupFailed | InfrastructureError:
    oom = end.get("reason") == OUT_OF_MEMORY
    if report is None or report.exit_code == 0:
        return _without_a_report(end, steps, scrubber, oom=oom)
    step = next((step for step in steps if step.name == report.step), None)
    if step is None:
        message = f"container {steps[0].name} reports of a step {report.step} that it does not have"
        return InfrastructureError(Reason.ENGINE_ERROR, message)
    if report.stopped and not report.timed_out:
        head = f"step {step.name} was interrupted: its pod was deleted"
        message = message_with_output(head, _tail(report.tail, scrubber))
        return InfrastructureError(Reason.INTERRUPTED, message, step=step.name, exit_code=report.exit_code)
    output = StepOutput(scrubber, retry=step.retry.output, cut=True)
    output.feed("".join(f"{line}\n" for line in report.matches).encode())
    output.feed(report.tail.encode())
    output.close()
    signal = signal_told_by(report.exit_code, step)
    result = StepResult(
        exit_code=report.exit_code if signal is None else None,
        signal=signal,
        timed_out=report.timed_out,
        oom=oom and signal is not None,
        tail=_tail(report.tail, scrubber),
        matched_retry_line=output.matched,
        volume=report.volume,
    )
    verdict = judge(step, result, TimeLimit(step.timeout.total_seconds()))
    if isinstance(verdict, SetupFailed | InfrastructureError):
        return verdict
    raise AssertionError("a step that failed was judged as done")


def _tail(text: str, scrubber: Scrubber) -> tuple[str, ...]:
    output = StepOutput(scrubber, cut=True)
    output.feed(text.encode())
    output.close()
    return output.tail


def _without_a_report(
    end: Body, steps: tuple[PlannedStep, ...], scrubber: Scrubber, *, oom: bool
) -> InfrastructureError:
    """A container that ended before its script could tell how: at most where it was, or why it could run nothing."""
    told, code = end.get("message") or "", end.get("exitCode")
    step = last_step_begun(told) or steps[0].name
    tail = _tail("".join(f"{line}\n" for line in told.splitlines() if step_begun(line.encode()) is None), scrubber)
    if oom:
        return InfrastructureError(
            Reason.STEP_KILLED, message_with_output(f"step {step} ran out of memory", tail), step=step
        )
    if code == NOTHING_COULD_RUN or end.get("reason") in {"ContainerCannotRun", "StartError"}:
        why = message_with_output(f"container {steps[0].name} could not run its steps", tail)
        return InfrastructureError(Reason.ENGINE_ERROR, why, step=step)
    if isinstance(code, int) and code <= SHELL_ADDS:
        head = f"container {steps[0].name} ended with exit code {code} and without a report of its steps"
        return InfrastructureError(Reason.ENGINE_ERROR, message_with_output(head, tail), step=step)
    how = f"step {step} was killed with its container (exit code {code}, {end.get('reason') or 'no reason told'})"
    return InfrastructureError(Reason.STEP_KILLED, message_with_output(how, tail), step=step)


def _too_late(
    plan: Plan, failed: SetupFailed | InfrastructureError | None, at_step: str | None
) -> SetupFailed | InfrastructureError:
    """The deadline of the attempt ended what ran; a step that had ended by itself before keeps its own outcome."""
    if isinstance(failed, SetupFailed):
        return failed
    if failed is not None and failed.reason not in _ENDED_FROM_OUTSIDE:
        return failed
    return end_by_deadline(plan, (failed.step if failed is not None else None) or at_step)


def end_without_a_start(plan: Plan, why: str | None) -> InfrastructureError:
    """No step has begun in the time of the whole attempt."""
    allowed = format_duration(timedelta(seconds=plan.timeout))
    message = cut(f"no step began within {allowed}: {why or 'no reason is told'}")
    return InfrastructureError(Reason.ENGINE_ERROR, message)


def end_by_deadline(plan: Plan, at_step: str | None) -> InfrastructureError:
    """The time of the whole attempt is over."""
    step = next((step for step in plan.steps if step.name == at_step), plan.steps[0])
    message = too_late(step, TimeLimit(plan.timeout, of_attempt=True))
    return InfrastructureError(Reason.STEP_TIMED_OUT, message, step=step.name)


def _ended_as_a_whole(pod: Body, at_step: str | None) -> InfrastructureError:
    status = pod.get("status") or {}
    why = status.get("message") or status.get("reason") or "no reason is told"
    name = pod["metadata"]["name"]
    return InfrastructureError(Reason.ENGINE_ERROR, cut(f"pod {name} ended early: {why}"), step=at_step)
