"""What a Job and its pods mean, as a table of what the API server tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.engines.kubernetes_job import state as s
from projectsetup.engines.kubernetes_job.manifest import TOMBSTONE
from projectsetup.engines.kubernetes_job.plan import Plan
from projectsetup.engines.kubernetes_job.state import Broken, Ended, JobState, Running, Starting, job_state
from projectsetup.setup.scrub import Scrubber
from projectsetup.setup.types import SetupFailed, SetupSucceeded

Body = dict[str, Any]

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
LIMIT = 300.0
COMMIT = "c0de" * 10
MAKE = {"name": "make", "status": "initializing", "timeout": "10m"}
RETRY = {"exitCodes": [42], "output": ["(?i)reset"]}
TEST = {"name": "test", "status": "testing", "timeout": "10m", "retry": RETRY}
PUSH = {"name": "push", "status": "committing", "timeout": "5m"}
PLAN = Plan.model_validate({"timeout": 1800, "stages": [{"steps": [MAKE, TEST]}, {"steps": [PUSH]}]})


def at(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def job(*conditions: Body, suspend: bool = False, **annotations: str) -> Body:
    return {
        "metadata": {"name": "setup-x-1-1", "creationTimestamp": at(-20), "annotations": annotations},
        "spec": {"suspend": suspend},
        "status": {"conditions": list(conditions), "startTime": at(-20)},
    }


def failed(reason: str, message: str = "no") -> Body:
    return {"type": "Failed", "status": "True", "reason": reason, "message": message}


def pod(phase: str, *containers: Body, created: float = -10, conditions: tuple[Body, ...] = (), **status: Any) -> Body:
    """Containers are those of the stages, in order; all but the last of the plan are init containers."""
    return {
        "metadata": {"name": f"pod{created:+.0f}", "namespace": "team", "creationTimestamp": at(created)},
        "status": {
            "phase": phase,
            "conditions": list(conditions),
            "initContainerStatuses": list(containers[:1]),
            "containerStatuses": list(containers[1:]),
            **status,
        },
    }


def running(name: str) -> Body:
    return {"name": name, "state": {"running": {"startedAt": at(-5)}}}


def waits(name: str, reason: str = "PodInitializing", message: str | None = None) -> Body:
    return {"name": name, "image": "some:1", "state": {"waiting": {"reason": reason, "message": message}}}


def ended(name: str, code: int = 0, message: str = "", reason: str = "Completed") -> Body:
    end = {"exitCode": code, "message": message, "reason": reason, "finishedAt": at(-1)}
    return {"name": name, "state": {"terminated": end}}


DONE = ended("make", message="step=test\nexit=0\n\n")
PUSHED = ended("push", message=f"step=push\nexit=0\nCODE_COMMIT={COMMIT}\n")
TOO_LATE = "the attempt timed out after 30m, during step test"
TAKEN = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "evicted"}


def see(stored: Body | None, *pods: Body, now: datetime = NOW, **known: Any) -> JobState:
    known = {"warnings": (), "at_step": None} | known
    return job_state(stored, pods, plan=PLAN, scrubber=Scrubber(["hunter22"]), now=now, start_limit=LIMIT, **known)


def broken(seen: JobState) -> tuple[Reason, str, str | None, int | None]:
    assert isinstance(seen, Broken), seen
    return seen.error.reason, seen.error.message, seen.error.step, seen.error.exit_code


def test_no_job_and_a_tombstone() -> None:
    assert see(None) == s.Gone()
    assert see(job(suspend=True, **{TOMBSTONE: "true"})) == s.Tombstone()


@pytest.mark.parametrize("message", ["", "nothing that was agreed upon", "step=push\nexit=3\n\n"])
def test_success_needs_a_report_of_every_stage_and_no_ended_job(message: str) -> None:
    assert see(job(), pod("Succeeded", DONE, PUSHED)) == Ended(SetupSucceeded(COMMIT, None))
    seen = see(job(), pod("Succeeded", DONE, ended("push", message=message)))
    assert not (isinstance(seen, Ended) and isinstance(seen.outcome, SetupSucceeded))
    assert isinstance(see(job(), pod("Succeeded", DONE)), Broken)


def test_a_failed_step() -> None:
    seen = see(job(), pod("Failed", ended("make", 3, "step=test\nexit=3\n\nbecause of hunter22\n")))
    assert isinstance(seen, Ended)
    assert seen.outcome == SetupFailed("test", 3, "step test failed with exit code 3: because of ***")
    pattern_of_another_step = ended("make", 9, "step=make\nexit=9\n\nreset\n")
    assert isinstance(see(job(), pod("Failed", pattern_of_another_step)), Ended)


OOM, OUT_OF_MEMORY = "OOMKilled", "ran out of memory"


@pytest.mark.parametrize(
    ("code", "message", "why", "reason", "said"),
    [
        (75, "step=make\nexit=75\n\n", "Error", Reason.STEP_TRANSIENT, "exit code 75"),
        (42, "step=test\nexit=42\n\n", "Error", Reason.STEP_TRANSIENT, "exit code 42"),
        (9, "step=test\nexit=9\nmatch=connection RESET\n\nend\n", "Error", Reason.STEP_TRANSIENT, "connection RESET"),
        (9, "step=test\nexit=9\n\nReset by peer\n", "Error", Reason.STEP_TRANSIENT, "Reset by peer"),
        (124, "step=test\nexit=143\ntimeout=1\n\n", "Error", Reason.STEP_TIMED_OUT, "timed out after 10m"),
        (137, "step=make\nexit=137\n\n", "Error", Reason.STEP_KILLED, "SIGKILL"),
        (125, "[projectsetup] the image has no awk\n", "Error", Reason.ENGINE_ERROR, "the image has no awk"),
        (137, "", "Error", Reason.STEP_KILLED, "killed with its container"),
        (137, "step=test\nexit=137\n\nKilled\n", OOM, Reason.STEP_KILLED, OUT_OF_MEMORY),
        (137, "[projectsetup] step test (2/3)\n", OOM, Reason.STEP_KILLED, OUT_OF_MEMORY),
        (137, "", OOM, Reason.STEP_KILLED, OUT_OF_MEMORY),
    ],
)
def test_retryable_failures(code: int, message: str, why: str, reason: Reason, said: str) -> None:
    found, text, _, _ = broken(see(job(), pod("Failed", ended("make", code, message, why))))
    assert found is reason
    assert said in text


@pytest.mark.parametrize("kind", ["Failed", "FailureTarget"])
def test_the_deadline_of_the_attempt(kind: str) -> None:
    late = {**failed("DeadlineExceeded"), "type": kind}
    assert broken(see(job(late), at_step="test")) == (Reason.STEP_TIMED_OUT, TOO_LATE, "test", None)
    stopped = pod("Failed", ended("make", 143, "step=test\nexit=143\n\n"))
    assert broken(see(job(late), stopped))[0] is Reason.STEP_TIMED_OUT
    failed_step = pod("Failed", ended("make", 3, "step=test\nexit=3\n\n"))
    assert isinstance(see(job(late), failed_step), Ended)
    why = "the pod did not start in time: no node is free"
    assert broken(see(job(late), warnings=("no node is free",)))[:2] == (Reason.ENGINE_ERROR, why)


@pytest.mark.parametrize("code", [3, 75, 143])
def test_a_step_that_was_stopped_with_its_pod_has_not_failed(code: int) -> None:
    stopped_pod = pod("Failed", ended("make", code, f"step=test\nexit={code}\nstopped=1\n\nasked to end\n"))
    assert see(job(), stopped_pod) == Running("pod-10", "make", PLAN.steps[0], 0, running=False)
    assert broken(see(job(failed("DeadlineExceeded")), stopped_pod))[:2] == (Reason.STEP_TIMED_OUT, TOO_LATE)
    why = "step test was interrupted: its pod was deleted: asked to end"
    assert broken(see(job(failed("BackoffLimitExceeded")), stopped_pod)) == (Reason.INTERRUPTED, why, "test", code)


CONTRADICTIONS = [(3, "step=test\nexit=75\n\n"), (124, "step=test\nexit=143\n\n"), (0, "step=test\nexit=3\n\n")]


@pytest.mark.parametrize(
    ("code", "message"), [*CONTRADICTIONS, (0, "step=make\nexit=0\n\n"), (2, ""), (127, "sh: not found")]
)
def test_a_report_that_contradicts_the_exit_code_is_ignored(code: int, message: str) -> None:
    reason, text, _, _ = broken(see(job(), pod("Failed", ended("make", code, message, "Error"))))
    assert reason is Reason.ENGINE_ERROR
    assert f"container make exited with code {code} without reporting on its steps" in text


@pytest.mark.parametrize("kind", ["SuccessCriteriaMet", "Complete"])
def test_a_job_that_succeeded_counts_although_its_pod_is_gone(kind: str) -> None:
    assert see(job({"type": kind, "status": "True"})) == s.Unreported()
    assert isinstance(see(job({"type": kind, "status": "True"}), pod("Pending", running("make"))), Broken)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (failed("PodFailurePolicy", "the policy"), "the Job failed: PodFailurePolicy: the policy"),
        ({"type": "FailureTarget", "status": "True"}, "the Job's pod was deleted before its report was read"),
    ],
)
def test_a_failed_job_without_a_pod_breaks_the_attempt(condition: Body, said: str) -> None:
    reason, text, _, _ = broken(see(job(condition)))
    assert reason is Reason.ENGINE_ERROR
    assert said in text


@pytest.mark.parametrize(
    ("seen_pod", "stage", "step", "completed", "is_running"),
    [
        (pod("Pending", running("make"), waits("push")), "make", 0, 0, True),
        (pod("Running", DONE, running("push")), "push", 2, 2, True),
        (pod("Pending", DONE, waits("push")), "push", 2, 2, False),
        (pod("Pending", ended("make", 3, "step=test\nexit=3\n\n"), waits("push")), "make", 0, 0, False),
    ],
    ids=["first", "last", "between", "failed, its pod has not ended"],
)
def test_the_running_stage(seen_pod: Body, stage: str, step: int, completed: int, is_running: bool) -> None:
    assert see(job(), seen_pod) == Running("pod-10", stage, PLAN.steps[step], completed, running=is_running)


@pytest.mark.parametrize("phase", ["Pending", "Running", "Failed"])
def test_a_disrupted_pod_does_not_end_the_attempt(phase: str) -> None:
    taken = pod(phase, ended("make", 143, "step=make\nexit=143\n\n", "Error"), conditions=(TAKEN,))
    seen = see(job(), taken)
    assert isinstance(seen, Starting)
    assert "evicted" in (seen.why or "")
    successor = pod("Pending", running("make"), created=-2)
    assert see(job(), taken, successor) == Running("pod-2", "make", PLAN.steps[0], 0, running=True)


@pytest.mark.parametrize(
    "message",
    [
        'Usage of EmptyDir volume "work" exceeds the limit "4Mi". ',
        "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
        'Container make exceeded its local ephemeral storage limit "1Gi". ',
    ],
)
@pytest.mark.parametrize("conditions", [(), (TAKEN,)])
def test_a_pod_that_exceeded_a_limit_ends_the_attempt(message: str, conditions: tuple[Body, ...]) -> None:
    gone = ended("make", 137, "The container could not be located", "ContainerStatusUnknown")
    seen = see(job(), pod("Failed", gone, conditions=conditions, reason="Evicted", message=message), at_step="make")
    reason, text, step, _ = broken(seen)
    assert (reason, step) == (Reason.STEP_KILLED, "make")
    assert message.strip() in text


UNSCHEDULED = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
STUCK = {
    "unscheduled": (pod("Pending", conditions=(UNSCHEDULED,)), "Unschedulable: 0/1 nodes"),
    "image": (pod("Pending", waits("make", "ImagePullBackOff", "no such image"), waits("push")), "no such image"),
    "later image": (pod("Pending", DONE, waits("push", "ErrImagePull", "no such image")), "no such image"),
    "mount": (pod("Pending", waits("make"), waits("push")), 'secret "git" not found'),
}


@pytest.mark.parametrize("name", STUCK)
def test_a_pod_that_does_not_start_says_why_until_its_limit(name: str) -> None:
    stuck, why = STUCK[name]
    warnings = ('MountVolume.SetUp failed: secret "git" not found',) if name == "mount" else ()
    seen = see(job(), stuck, warnings=warnings)
    assert isinstance(seen, Starting)
    assert why in (seen.why or "")
    assert seen.limit is not None
    reason, text, _, _ = broken(see(job(), stuck, now=seen.limit, warnings=warnings))
    assert reason is Reason.ENGINE_ERROR
    assert text.startswith("the pod did not start within 5m: ")
    assert why in text


def test_a_job_without_a_pod_has_a_limit_unless_it_is_queued() -> None:
    warned = see(job(), warnings=("pods are forbidden: exceeded quota",))
    assert warned == Starting("pods are forbidden: exceeded quota", NOW + timedelta(seconds=LIMIT - 20))
    queued = see(job(suspend=True))
    assert isinstance(queued, Starting)
    assert queued.limit is None
