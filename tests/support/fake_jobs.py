"""An API server for the Job engine in memory that can be slow, down, forgetful or stale."""

from __future__ import annotations

import asyncio
import copy
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from projectsetup.api.constants import controller_uid
from projectsetup.engines.kubernetes_job.plan import Plan
from projectsetup.kube.job_cache import JobStore, JobView, Kind
from projectsetup.kube.jobs import OF_JOB, slim, slim_for_cache
from tests.support.fake_log import START, FakeLog

Body = dict[str, Any]
Key = tuple[str, str]


class Unanswered(Exception):
    """The API server did not answer."""


class Refused(Unanswered):
    """The API server refused the call."""


def now() -> datetime:
    """The time of the API server, which follows the clock of the running loop."""
    return START + timedelta(seconds=asyncio.get_running_loop().time())


class NoRoom(Refused):
    """The API server refused the call for now."""


class FakeJobs:
    """The client and the cache of the Job engine, with the controllers and the kubelet behind them."""

    failed: type[Exception] = Unanswered
    refused: tuple[type[Exception], ...] = (Refused,)
    no_room: tuple[type[Exception], ...] = (NoRoom,)

    def __init__(self) -> None:
        self.jobs: dict[Key, Body] = {}
        self.pods: dict[Key, Body] = {}
        self.logs: dict[tuple[str, str], FakeLog] = defaultdict(FakeLog)
        self.warnings: dict[str, list[str]] = {}
        self.calls: list[str] = []
        self.down = False
        """No call is carried out or answered."""
        self.stale = False
        """The cache sees no changes."""
        self.complete = True
        self.held: asyncio.Event | None = None
        """Creates wait until this is set."""
        self.lost_answers = 0
        """Number of creates that are carried out but not answered."""
        self.delayed = 0
        """Number of creates that are not answered, and carried out when `deliver` is called."""
        self.refusal: str | None = None
        """The error of every create and delete."""
        self.deletion_takes: float | None = 1.0
        """Seconds until a deleted Job and its pods disappear; None: never."""
        self._undelivered: list[Body] = []
        self._store = JobStore()
        self._versions = count(1)
        self._deletions: set[asyncio.TimerHandle] = set()

    # the client

    async def create_or_get(self, namespace: str, manifest: Body) -> Body:
        name = manifest["metadata"]["name"]
        self.calls.append(f"create {name}")
        if self.held is not None:
            await self.held.wait()
        self._check_reachable()
        if self.refusal is not None:
            raise (NoRoom if "exceeded quota" in self.refusal else Refused)(self.refusal)
        if self.delayed:
            self.delayed -= 1
            self._undelivered.append(manifest)
            raise Unanswered("create: no answer in time")
        job = self.jobs.get((namespace, name)) or self._make(manifest)
        if self.lost_answers:
            self.lost_answers -= 1
            raise Unanswered("create: no answer in time")
        return slim(copy.deepcopy(job))

    async def get_job(self, namespace: str, name: str) -> Body | None:
        self.calls.append(f"get {name}")
        self._check_reachable()
        job = self.jobs.get((namespace, name))
        return None if job is None else slim(copy.deepcopy(job))

    async def pods_of(self, namespace: str, job_uid: str) -> list[Body]:
        self.calls.append("pods")
        self._check_reachable()
        return list(map(slim, copy.deepcopy(self._pods(namespace, job_uid))))

    async def select(self, namespace: str, selector: str) -> tuple[list[Body], list[Body]]:
        self.calls.append("select")
        self._check_reachable()
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
        self._check_reachable()
        if self.refusal is not None:
            raise Refused(self.refusal)
        job = self.jobs.get((namespace, name))
        if job is None or job["metadata"]["uid"] != uid or "deletionTimestamp" in job["metadata"]:
            return
        job["metadata"]["deletionTimestamp"] = _time(now())
        self._stored(Kind.JOBS, job)
        if self.deletion_takes is not None:
            loop = asyncio.get_running_loop()
            self._deletions.add(loop.call_later(self.deletion_takes, self.remove, (namespace, name)))

    async def warnings_about(self, namespace: str, uids: Sequence[str]) -> list[str]:
        self.calls.append(f"warnings in {namespace}")
        self._check_reachable()
        return [text for uid in uids for text in self.warnings.get(uid, [])]

    async def read_log(
        self, namespace: str, pod: str, container: str, *, since: str | None, tail: int | None, follow: bool
    ) -> AsyncGenerator[bytes]:
        again = "" if since is None else f" since {since[-len('00:00:00Z') : -1]}"
        self.calls.append(f"{'follow' if follow else 'read'} {container}{again}" + ("" if tail is None else " tail"))
        self._check_reachable()
        if (namespace, pod) not in self.pods:
            raise Refused(f"read the log of pod {namespace}/{pod}: 404 not found")
        try:
            async for piece in self.logs[pod, container].read(since, tail, follow=follow):
                yield piece
        except TimeoutError as error:
            raise Unanswered(f"read the log of pod {namespace}/{pod}: no answer in time") from error

    # the cache

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
        """Create a Job."""
        return self._make(manifest)

    def deliver(self) -> None:
        """Carry out the delayed creates, except those whose name is taken."""
        while self._undelivered:
            manifest = self._undelivered.pop()
            if (manifest["metadata"]["namespace"], manifest["metadata"]["name"]) not in self.jobs:
                self._make(manifest)

    def remove(self, key: Key) -> None:
        """Remove the Job and its pods at once."""
        self.remove_pods(key)
        job = self.jobs.pop(key, None)
        if job is not None:
            self._gone(Kind.JOBS, job)

    def remove_pods(self, key: Key) -> None:
        """Remove the pods of the Job at once."""
        for pod in [pod for pod in self.pods.values() if pod["metadata"]["ownerReferences"][0]["name"] == key[1]]:
            del self.pods[pod["metadata"]["namespace"], pod["metadata"]["name"]]
            self._gone(Kind.PODS, pod)

    def start_pod(self, key: Key, *, name: str = "pod") -> FakePod:
        """Create a pod of the Job whose first container waits."""
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

    def update(self, kind: Kind, body: Body) -> None:
        """Store a changed object."""
        self._stored(kind, body)

    def drop_from_cache(self, kind: Kind, body: Body) -> None:
        """Make the cache report the deletion of an object that still exists."""
        self._store.remove(kind, slim_for_cache(body))

    def end_job(self, key: Key, condition: str, *, reason: str = "", message: str = "") -> None:
        """Set a condition, as the Job controller does."""
        job = self.jobs[key]
        job.setdefault("status", {}).setdefault("conditions", []).append(
            {"type": condition, "status": "True", "reason": reason, "message": message}
        )
        self._stored(Kind.JOBS, job)

    def _check_reachable(self) -> None:
        if self.down:
            raise Unanswered("connection refused")

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
        if not self.stale:
            self._store.put(kind, slim_for_cache(copy.deepcopy(body)))

    def _gone(self, kind: Kind, body: Body) -> None:
        if not self.stale:
            self._store.remove(kind, slim_for_cache(copy.deepcopy(body)))


class FakePod:
    """One pod, with the status that the kubelet writes."""

    def __init__(self, jobs: FakeJobs, job: Body, body: Body) -> None:
        self._jobs = jobs
        self.name: str = body["metadata"]["name"]
        self._body = body
        plan = Plan.read(job, "")
        self._stages = {stage.name: [step.name for step in stage.steps] for stage in plan.stages}
        self._states: dict[str, Body] = {name: {"waiting": {"reason": "PodInitializing"}} for name in self._stages}
        self._added: Body = {}
        self._update_status("Pending")

    def run(self, stage: str) -> None:
        """Run this stage; all stages before it are done."""
        for name in self._stages:
            if name == stage:
                break
            self._end(name, 0)
        self._states[stage] = {"running": {"startedAt": _time(now())}}
        self._update_status("Running")

    def print(self, text: str) -> None:
        """Print something in the running container."""
        self.log.print(text)

    @property
    def log(self) -> FakeLog:
        """The log of the running container."""
        return self._jobs.logs[self.name, self._running]

    def succeed(self, **facts: str) -> None:
        """End all stages with success."""
        for name in self._stages:
            self._end(name, 0, **(facts if name == [*self._stages][-1] else {}))
        self._update_status("Running" if self._added else "Succeeded")

    def fail(self, code: int, text: str = "") -> None:
        """Let the first step of the running stage fail."""
        self._end(self._running, code, text=text)
        self._update_status("Running" if self._added else "Failed")

    def add_sidecar(self) -> None:
        """Add a container that does not end by itself."""
        self._added = {"mesh": {"running": {"startedAt": _time(now())}}}

    def be_evicted(self) -> None:
        """Evict the pod."""
        self.log.end()
        self._states[self._running] = {"terminated": {"exitCode": 137, "reason": "Error"}}
        self._body["status"]["conditions"] = [
            {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}
        ]
        self._update_status("Failed")

    def lack_image(self) -> None:
        """Let the first container wait for an image that does not exist."""
        first = next(iter(self._states))
        self._states[first] = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        self._update_status("Pending")

    @property
    def _running(self) -> str:
        return next(name for name, state in self._states.items() if "running" in state)

    def _end(self, stage: str, code: int, *, text: str = "", **facts: str) -> None:
        steps = self._stages[stage]
        self._jobs.logs[self.name, stage].end()
        lines = [f"step={steps[0] if code else steps[-1]}", f"exit={code}"]
        lines += [f"{name}={value}" for name, value in facts.items()]
        message = "\n".join(lines) + "\n" + (f"\n{text}" if text else "")
        reason = "Error" if code else "Completed"
        self._states[stage] = {"terminated": {"exitCode": code, "reason": reason, "message": message}}

    def _update_status(self, phase: str) -> None:
        *first, last = map(_container, self._states.items())
        self._body["status"] |= {
            "phase": phase,
            "startTime": _time(now()),
            "initContainerStatuses": first,
            "containerStatuses": [last, *map(_container, self._added.items())],
        }
        self._jobs.update(Kind.PODS, self._body)


def _container(named: tuple[str, Body]) -> Body:
    name, state = named
    return {"name": name, "state": state, "restartCount": 0, "ready": False, "image": "x", "imageID": ""}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
