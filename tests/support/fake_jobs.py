"""The API server as the Job engine sees it, in memory: slow, away, forgetful or deaf, as a test wants it."""

from __future__ import annotations

import asyncio
import copy
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from projectsetup.api.constants import controller_uid
from projectsetup.engines.kubernetes_job.plan import Plan
from projectsetup.kube.job_bodies import OF_JOB, slim
from projectsetup.kube.job_store import JobStore, JobView, Kind

Body = dict[str, Any]
Key = tuple[str, str]

START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Away(Exception):
    """There was no answer."""


class Refused(Away):
    """The answer was no."""


def now() -> datetime:
    """The time on the API server, which goes with the clock of the running loop."""
    return START + timedelta(seconds=asyncio.get_running_loop().time())


class NoRoom(Refused):
    """The answer was no, for now."""


class FakeJobs:
    """Both ports of the Job engine, and the controllers and the kubelet behind them."""

    failed: type[Exception] = Away
    refused: tuple[type[Exception], ...] = (Refused,)
    no_room: tuple[type[Exception], ...] = (NoRoom,)

    def __init__(self) -> None:
        self.jobs: dict[Key, Body] = {}
        self.pods: dict[Key, Body] = {}
        self.logs: dict[tuple[str, str], asyncio.Queue[bytes | None]] = defaultdict(asyncio.Queue)
        self.warnings: dict[str, list[str]] = {}
        self.calls: list[str] = []
        self.away = False
        """No call is carried out or answered."""
        self.deaf = False
        """The board is told nothing."""
        self.complete = True
        self.held: asyncio.Event | None = None
        """A create is carried out once this is set."""
        self.lost_answers = 0
        """So many creates are carried out, but not answered."""
        self.late = 0
        """So many creates are not answered, and carried out when `deliver` is called."""
        self.refusal: str | None = None
        """What a create or a delete is answered."""
        self.clearing_takes: float | None = 1.0
        """Seconds from the deletion of a Job until it is gone with its pods; None: for ever."""
        self._undelivered: list[Body] = []
        self._store = JobStore()
        self._versions = count(1)
        self._clearing: set[asyncio.TimerHandle] = set()

    # the calls

    async def create_or_get(self, namespace: str, manifest: Body) -> Body:
        name = manifest["metadata"]["name"]
        self.calls.append(f"create {name}")
        if self.held is not None:
            await self.held.wait()
        self._answering()
        if self.refusal is not None:
            raise (NoRoom if "exceeded quota" in self.refusal else Refused)(self.refusal)
        if self.late:
            self.late -= 1
            self._undelivered.append(manifest)
            raise Away("create: no answer in time")
        job = self.jobs.get((namespace, name)) or self._make(manifest)
        if self.lost_answers:
            self.lost_answers -= 1
            raise Away("create: no answer in time")
        return slim(copy.deepcopy(job))

    async def get_job(self, namespace: str, name: str) -> Body | None:
        self.calls.append(f"get {name}")
        self._answering()
        job = self.jobs.get((namespace, name))
        return None if job is None else slim(copy.deepcopy(job))

    async def pods_of(self, namespace: str, job_uid: str) -> list[Body]:
        self.calls.append("pods")
        self._answering()
        return list(map(slim, copy.deepcopy(self._pods(namespace, job_uid))))

    async def select(self, namespace: str, selector: str) -> tuple[list[Body], list[Body]]:
        self.calls.append("select")
        self._answering()
        wanted = dict(part.split("=") for part in selector.split(","))
        found = [
            [
                slim(copy.deepcopy(body))
                for (place, _), body in bodies.items()
                if place == namespace and wanted.items() <= body["metadata"]["labels"].items()
            ]
            for bodies in (self.jobs, self.pods)
        ]
        return found[0], found[1]

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        self.calls.append(f"delete {name}")
        self._answering()
        if self.refusal is not None:
            raise Refused(self.refusal)
        job = self.jobs.get((namespace, name))
        if job is None or job["metadata"]["uid"] != uid or "deletionTimestamp" in job["metadata"]:
            return
        job["metadata"]["deletionTimestamp"] = _time(now())
        self._stored(Kind.JOBS, job)
        if self.clearing_takes is not None:
            loop = asyncio.get_running_loop()
            self._clearing.add(loop.call_later(self.clearing_takes, self.clear, (namespace, name)))

    async def warnings_about(self, namespace: str, uids: Sequence[str]) -> list[str]:
        self.calls.append(f"warnings in {namespace}")
        self._answering()
        return [text for uid in uids for text in self.warnings.get(uid, [])]

    async def follow_log(
        self, namespace: str, pod: str, container: str, *, since: float | None
    ) -> AsyncGenerator[bytes]:
        self.calls.append(f"log of {container} in {namespace}" + ("" if since is None else " again"))
        self._answering()
        while (piece := await self.logs[pod, container].get()) is not None:
            yield piece

    # the board

    async def start(self) -> None:
        self.calls.append("start")

    async def close(self) -> None:
        self.calls.append("close")

    def view(self, namespace: str, job_uid: str, on_change: Callable[[], None]) -> AbstractContextManager[JobView]:
        return self._store.view(namespace, job_uid, on_change)

    def snapshot(self) -> list[tuple[Body, Sequence[Body]]]:
        return self._store.snapshot()

    # what happens in the cluster

    def make(self, manifest: Body) -> Body:
        """Somebody makes a Job."""
        return self._make(manifest)

    def deliver(self) -> None:
        """The creates that were under way arrive; a name that is taken stays so."""
        while self._undelivered:
            manifest = self._undelivered.pop()
            if (manifest["metadata"]["namespace"], manifest["metadata"]["name"]) not in self.jobs:
                self._make(manifest)

    def clear(self, key: Key) -> None:
        """The Job and its pods are gone."""
        self.clear_pods(key)
        job = self.jobs.pop(key, None)
        if job is not None:
            self._gone(Kind.JOBS, job)

    def clear_pods(self, key: Key) -> None:
        """The pods of the Job are gone."""
        for pod in [pod for pod in self.pods.values() if pod["metadata"]["ownerReferences"][0]["name"] == key[1]]:
            del self.pods[pod["metadata"]["namespace"], pod["metadata"]["name"]]
            self._gone(Kind.PODS, pod)

    def start_pod(self, key: Key, *, name: str = "pod") -> FakePod:
        """The Job controller makes the pod of a Job, and the kubelet its first container."""
        job = self.jobs[key]
        pod: Body = {
            "metadata": {
                "namespace": key[0],
                "name": f"{key[1]}-{name}",
                "uid": f"uid-{next(self._versions)}",
                "creationTimestamp": _time(now()),
                "labels": {**job["metadata"]["labels"], OF_JOB: job["metadata"]["uid"]},
                "ownerReferences": [{"kind": "Job", "name": key[1], "uid": job["metadata"]["uid"], "controller": True}],
            },
            "spec": {"nodeName": "node"},
            "status": {},
        }
        self.pods[key[0], pod["metadata"]["name"]] = pod
        return FakePod(self, job, pod)

    def tell(self, kind: Kind, body: Body) -> None:
        """An object has changed."""
        self._stored(kind, body)

    def forget(self, kind: Kind, body: Body) -> None:
        """The board tells that an object has gone, which is not true."""
        self._store.remove(kind, body)

    def end_job(self, key: Key, condition: str, *, reason: str = "", message: str = "") -> None:
        """The Job controller sets a condition."""
        job = self.jobs[key]
        job.setdefault("status", {}).setdefault("conditions", []).append(
            {"type": condition, "status": "True", "reason": reason, "message": message}
        )
        self._stored(Kind.JOBS, job)

    def _answering(self) -> None:
        if self.away:
            raise Away("connection refused")

    def _make(self, manifest: Body) -> Body:
        job = copy.deepcopy(manifest)
        job["metadata"] |= {"uid": f"uid-{next(self._versions)}", "creationTimestamp": _time(now())}
        job["status"] = {"startTime": _time(now())} if not job["spec"].get("suspend") else {}
        self.jobs[job["metadata"]["namespace"], job["metadata"]["name"]] = job
        self._stored(Kind.JOBS, job)
        return job

    def _pods(self, namespace: str, job_uid: str) -> list[Body]:
        return [
            pod for (found_in, _), pod in self.pods.items() if found_in == namespace and controller_uid(pod) == job_uid
        ]

    def _stored(self, kind: Kind, body: Body) -> None:
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        if not self.deaf:
            self._store.put(kind, copy.deepcopy(body))

    def _gone(self, kind: Kind, body: Body) -> None:
        if not self.deaf:
            self._store.remove(kind, copy.deepcopy(body))


class FakePod:
    """One pod as the kubelet tells of it."""

    def __init__(self, jobs: FakeJobs, job: Body, body: Body) -> None:
        self._jobs = jobs
        self.name: str = body["metadata"]["name"]
        self._body = body
        plan = Plan.read(job, "")
        self._stages = {stage.name: [step.name for step in stage.steps] for stage in plan.stages}
        self._states: dict[str, Body] = {name: {"waiting": {"reason": "PodInitializing"}} for name in self._stages}
        self._added: Body = {}
        self._tell("Pending")

    def run(self, stage: str) -> None:
        """All stages before this one are done, and this one runs."""
        for name in self._stages:
            if name == stage:
                break
            self._end(name, 0)
        self._states[stage] = {"running": {"startedAt": _time(now())}}
        self._tell("Running")

    def print(self, text: str) -> None:
        """The running container prints something."""
        self._jobs.logs[self.name, self._running].put_nowait(text.encode())

    def cut_log(self) -> None:
        """Whoever follows the log is cut off."""
        self._jobs.logs[self.name, self._running].put_nowait(None)

    def succeed(self, **facts: str) -> None:
        """All stages are done."""
        for name in self._stages:
            self._end(name, 0, **(facts if name == [*self._stages][-1] else {}))
        self._tell("Running" if self._added else "Succeeded")

    def fail(self, code: int, text: str = "") -> None:
        """The step that the running stage began with fails."""
        self._end(self._running, code, text=text)
        self._tell("Running" if self._added else "Failed")

    def add_sidecar(self) -> None:
        """Somebody has added a container that does not end by itself."""
        self._added = {"mesh": {"running": {"startedAt": _time(now())}}}

    def be_evicted(self) -> None:
        """The cluster takes the pod away."""
        self._states[self._running] = {"terminated": {"exitCode": 137, "reason": "Error"}}
        self._body["status"]["conditions"] = [
            {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}
        ]
        self._tell("Failed")

    def wait_for_image(self) -> None:
        """The image cannot be had."""
        first = next(iter(self._states))
        self._states[first] = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        self._tell("Pending")

    @property
    def _running(self) -> str:
        return next(name for name, state in self._states.items() if "running" in state)

    def _end(self, stage: str, code: int, *, text: str = "", **facts: str) -> None:
        steps = self._stages[stage]
        lines = [f"step={steps[0] if code else steps[-1]}", f"exit={code}"]
        lines += [f"{name}={value}" for name, value in facts.items()]
        message = "\n".join(lines) + "\n" + (f"\n{text}" if text else "")
        reason = "Error" if code else "Completed"
        self._states[stage] = {"terminated": {"exitCode": code, "reason": reason, "message": message}}

    def _tell(self, phase: str) -> None:
        *first, last = map(_container, self._states.items())
        self._body["status"] |= {
            "phase": phase,
            "startTime": _time(now()),
            "initContainerStatuses": first,
            "containerStatuses": [last, *map(_container, self._added.items())],
        }
        self._jobs.tell(Kind.PODS, self._body)


def _container(told: tuple[str, Body]) -> Body:
    name, state = told
    return {"name": name, "state": state, "restartCount": 0, "ready": False, "image": "x", "imageID": ""}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
