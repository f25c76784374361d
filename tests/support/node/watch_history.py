"""Every version of every Job and pod in a namespace, from watches."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

from devcluster.build import find_programs
from projectsetup.engines.kubernetes_job.manifest import ATTEMPT, PROJECT, is_tombstone
from tests.support.manifests import Body, Kubectl
from tests.support.operator_process import wait_for

PATHS: Final = {"jobs": "/apis/batch/v1", "pods": "/api/v1"}
OF_JOB: Final = "batch.kubernetes.io/job-name"
SECONDS: Final = 7200
"""How long a watch lasts at most."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A Job or a pod as it was from this revision on; `gone`: it was deleted."""

    revision: int
    body: Body
    gone: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])

    @property
    def project(self) -> str | None:
        """The project that it is for."""
        return (self.body["metadata"].get("labels") or {}).get(PROJECT)

    @property
    def attempt(self) -> int:
        """The attempt that it is for."""
        return int(self.body["metadata"]["labels"][ATTEMPT])

    def has(self, *conditions: str) -> bool:
        """Whether one of these conditions is true."""
        found = self.body.get("status", {}).get("conditions") or ()
        return any(one["type"] in conditions and one["status"] == "True" for one in found)

    @property
    def phase(self) -> str:
        """Of a pod."""
        return str(self.body.get("status", {}).get("phase", ""))


@dataclass(slots=True)
class WatchHistory:
    """Watches while it is entered. A pod lives from its creation until it is deleted or has a final phase."""

    kubeconfig: Path
    namespace: str
    jobs: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    pods: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    problem: str | None = None
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _leaving: bool = False

    def __enter__(self) -> Self:
        kubectl = Kubectl(self.kubeconfig)
        for kind, api in PATHS.items():
            path = f"{api}/namespaces/{self.namespace}/{kind}"
            version = json.loads(kubectl("get", "--raw", path))["metadata"]["resourceVersion"]
            query = f"watch=1&resourceVersion={version}&timeoutSeconds={SECONDS}"
            process = subprocess.Popen(
                [str(find_programs()["kubectl"]), f"--kubeconfig={self.kubeconfig}", "get", "--raw", f"{path}?{query}"],
                stdout=subprocess.PIPE,
            )
            self._processes.append(process)
            threading.Thread(
                target=self._follow, args=(kind, process), name=f"watch_history of {kind}", daemon=True
            ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving = True
        for process in self._processes:
            process.kill()
            process.wait()

    def caught_up(self) -> None:
        """Return once the watches have seen everything that is stored by now."""
        kubectl, name = Kubectl(self.kubeconfig), f"mark-{uuid4().hex[:8]}"
        container = {"name": "mark", "image": "mark.invalid/never-runs:0"}
        pod = {"restartPolicy": "Never", "schedulingGates": [{"name": "mark/never"}], "containers": [container]}
        marks = (("v1", "Pod", pod), ("batch/v1", "Job", {"suspend": True, "template": {"spec": pod}}))
        for version, kind, spec in marks:
            metadata = {"name": name, "namespace": self.namespace}
            mark = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
            kubectl("create", "--filename=-", given=mark)
        wait_for(lambda: self.problem or (name in self.pods and name in self.jobs), "the watches to see the marks")
        assert self.problem is None, self.problem
        kubectl("delete", f"pod/{name}", f"job/{name}", f"--namespace={self.namespace}", "--wait=false")

    def living(self, project: str, *, at: int | None = None) -> list[str]:
        """The names of its pods that lived at a revision, or live now, and of its Jobs that had not ended."""
        return [
            entry.name
            for kind, is_over in ((self.jobs, _job_is_over), (self.pods, _pod_is_over))
            for entry in _as_of(kind, at)
            if entry.project == project and not is_over(entry)
        ]

    def running_pods(self) -> list[str]:
        """The names of pods with a running container that are not being deleted, in order."""
        last = [entries[-1] for entries in list(self.pods.values())]
        return sorted(
            entry.name
            for entry in last
            if not entry.gone
            and "deletionTimestamp" not in entry.body["metadata"]
            and any("running" in container.get("state", {}) for container in _containers(entry))
        )

    def living_pods(self, project: str) -> list[str]:
        """The names of its living pods."""
        return [name for name in self.living(project) if name in self.pods]

    def overlaps(self, projects: Collection[str]) -> list[tuple[int, set[str]]]:
        """Where two pods of one of these projects lived at the same time: the revision and the pods."""
        found = []
        alive: dict[str | None, set[str]] = defaultdict(set)
        for entry in sorted((entry for entries in list(self.pods.values()) for entry in entries), key=_revision):
            pods = alive[entry.project]
            (pods.discard if _pod_is_over(entry) else pods.add)(entry.name)
            if entry.project in projects and len(pods) > 1:
                found.append((entry.revision, set(pods)))
        return found

    def jobs_of(self, project: str) -> list[Entry]:
        """Its Jobs, as they were last seen, tombstones left out, in order of creation."""
        return [entry for entry in self._last(self.jobs, project) if not is_tombstone(entry.body)]

    def tombstones_of(self, project: str) -> list[Entry]:
        """Its tombstones, as they were last seen."""
        return [entry for entry in self._last(self.jobs, project) if is_tombstone(entry.body)]

    def pods_of(self, project: str) -> list[Entry]:
        """Its pods, as they were last seen, in order of creation."""
        return self._last(self.pods, project)

    def made_at(self, job: str) -> int:
        """The revision at which a Job was created."""
        return self.jobs[job][0].revision

    def was_taken_away(self, pod: str) -> bool:
        """Whether the cluster evicted or lost the pod before it had succeeded."""
        return any(entry.has("DisruptionTarget") and entry.phase != "Succeeded" for entry in self.pods[pod])

    def starts(self) -> dict[str, dict[int, int]]:
        """How many Jobs of each attempt number of each project had a container that ran."""
        ran: set[str] = set()
        for entries in list(self.pods.values()):
            if any(_has_run(entry) for entry in entries):
                ran.add(entries[0].body["metadata"]["labels"].get(OF_JOB, ""))
        counted: dict[str, Counter[int]] = defaultdict(Counter)
        for name in ran & self.jobs.keys():
            job = self.jobs[name][0]
            if job.project is not None:
                counted[job.project][job.attempt] += 1
        return {project: dict(numbers) for project, numbers in counted.items()}

    def unexplained_pods(self, projects: Collection[str]) -> list[str]:
        """Pods of these projects that followed one which the cluster had not taken away."""
        by_job: dict[str, list[list[Entry]]] = defaultdict(list)
        for entries in sorted(self.pods.values(), key=lambda entries: entries[0].revision):
            if entries[0].project in projects:
                by_job[entries[0].body["metadata"]["labels"].get(OF_JOB, "")].append(entries)
        return [
            after[0].name
            for pods in by_job.values()
            for before, after in pairwise(pods)
            if not self.was_taken_away(before[0].name)
        ]

    def _last(self, kind: dict[str, list[Entry]], project: str) -> list[Entry]:
        own = [entries for entries in list(kind.values()) if entries[0].project == project]
        return [entries[-1] for entries in sorted(own, key=lambda entries: entries[0].revision)]

    def _follow(self, kind: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        book: dict[str, list[Entry]] = getattr(self, kind)
        for line in process.stdout:
            event = json.loads(line)
            body: Body = event["object"]
            if event["type"] not in {"ADDED", "MODIFIED", "DELETED"}:
                self.problem = f"the watch of {kind} reported {event}"
                return
            entry = Entry(int(body["metadata"]["resourceVersion"]), body, gone=event["type"] == "DELETED")
            book[entry.name].append(entry)
        if not self._leaving:
            self.problem = f"the watch of {kind} has ended"


def _revision(entry: Entry) -> int:
    return entry.revision


def _as_of(kind: dict[str, list[Entry]], at: int | None) -> Iterator[Entry]:
    for entries in list(kind.values()):
        until = [entry for entry in list(entries) if at is None or entry.revision <= at]
        if until:
            yield until[-1]


def _pod_is_over(entry: Entry) -> bool:
    return entry.gone or entry.phase in {"Succeeded", "Failed"}


def _job_is_over(entry: Entry) -> bool:
    return entry.gone or is_tombstone(entry.body) or entry.has("Complete", "Failed")


def _has_run(entry: Entry) -> bool:
    return any({"running", "terminated"} & container.get("state", {}).keys() for container in _containers(entry))


def _containers(entry: Entry) -> list[Body]:
    status: Body = entry.body.get("status", {})
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
