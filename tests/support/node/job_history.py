"""Every version of every Job and pod in a namespace, read from watches."""

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
"""The longest duration of a watch."""


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """A Job or a pod from this revision on; `gone` means that it was deleted."""

    revision: int
    body: Body
    gone: bool = False

    @property
    def name(self) -> str:
        """The name of the object."""
        return str(self.body["metadata"]["name"])

    @property
    def project(self) -> str | None:
        """The project in its labels."""
        return (self.body["metadata"].get("labels") or {}).get(PROJECT)

    @property
    def attempt(self) -> int:
        """The attempt number in its labels."""
        return int(self.body["metadata"]["labels"][ATTEMPT])

    def has(self, *conditions: str) -> bool:
        """Return whether one of these conditions is true."""
        found = self.body.get("status", {}).get("conditions") or ()
        return any(one["type"] in conditions and one["status"] == "True" for one in found)

    @property
    def phase(self) -> str:
        """The phase of a pod."""
        return str(self.body.get("status", {}).get("phase", ""))


@dataclass(slots=True)
class JobHistory:
    """Watches while it is entered. A pod is live from its creation until it is deleted or has a final phase."""

    kubeconfig: Path
    namespace: str
    jobs: dict[str, list[ObjectVersion]] = field(default_factory=lambda: defaultdict(list))
    pods: dict[str, list[ObjectVersion]] = field(default_factory=lambda: defaultdict(list))
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
            threading.Thread(target=self._follow, args=(kind, process), name=f"watch of {kind}", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving = True
        for process in self._processes:
            process.kill()
            process.wait()

    def catch_up(self) -> None:
        """Return once the watches have delivered everything stored by now."""
        kubectl, name = Kubectl(self.kubeconfig), f"mark-{uuid4().hex[:8]}"
        container = {"name": "mark", "image": "mark.invalid/never-runs:0"}
        pod = {"restartPolicy": "Never", "schedulingGates": [{"name": "mark/never"}], "containers": [container]}
        marks = (("v1", "Pod", pod), ("batch/v1", "Job", {"suspend": True, "template": {"spec": pod}}))
        for version, kind, spec in marks:
            metadata = {"name": name, "namespace": self.namespace}
            mark = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
            kubectl("create", "--filename=-", given=mark)
        wait_for(lambda: self.problem or (name in self.pods and name in self.jobs), "the watches to deliver the marks")
        assert self.problem is None, self.problem
        kubectl("delete", f"pod/{name}", f"job/{name}", f"--namespace={self.namespace}", "--wait=false")

    def living(self, project: str, *, at: int | None = None) -> list[str]:
        """Return its Jobs that had not ended and its pods that were live, at a revision or now."""
        return [
            version.name
            for kind, has_ended in ((self.jobs, _job_has_ended), (self.pods, _pod_has_ended))
            for version in _as_of(kind, at)
            if version.project == project and not has_ended(version)
        ]

    def running_pods(self) -> list[str]:
        """Return the sorted names of pods with a running container that are not being deleted."""
        last = [versions[-1] for versions in list(self.pods.values())]
        return sorted(
            version.name
            for version in last
            if not version.gone
            and "deletionTimestamp" not in version.body["metadata"]
            and any("running" in container.get("state", {}) for container in _containers(version))
        )

    def living_pods(self, project: str) -> list[str]:
        """Return the names of its live pods."""
        return [name for name in self.living(project) if name in self.pods]

    def overlaps(self, projects: Collection[str]) -> list[tuple[int, set[str]]]:
        """Return the revisions at which one of these projects had two live pods, with the pods."""
        found = []
        alive: dict[str | None, set[str]] = defaultdict(set)
        for version in sorted(
            (version for versions in list(self.pods.values()) for version in versions), key=_revision
        ):
            pods = alive[version.project]
            (pods.discard if _pod_has_ended(version) else pods.add)(version.name)
            if version.project in projects and len(pods) > 1:
                found.append((version.revision, set(pods)))
        return found

    def jobs_of(self, project: str) -> list[ObjectVersion]:
        """Return the last version of its Jobs without tombstones, in order of creation."""
        return [version for version in self._last(self.jobs, project) if not is_tombstone(version.body)]

    def tombstones_of(self, project: str) -> list[ObjectVersion]:
        """Return the last version of its tombstones."""
        return [version for version in self._last(self.jobs, project) if is_tombstone(version.body)]

    def pods_of(self, project: str) -> list[ObjectVersion]:
        """Return the last version of its pods, in order of creation."""
        return self._last(self.pods, project)

    def created_at(self, job: str) -> int:
        """Return the revision at which a Job was created."""
        return self.jobs[job][0].revision

    def was_disrupted(self, pod: str) -> bool:
        """Return whether the cluster evicted or lost the pod before it succeeded."""
        return any(version.has("DisruptionTarget") and version.phase != "Succeeded" for version in self.pods[pod])

    def starts(self) -> dict[str, dict[int, int]]:
        """Return how many Jobs of each attempt number of each project ran a container."""
        ran: set[str] = set()
        for versions in list(self.pods.values()):
            if any(_has_run(version) for version in versions):
                ran.add(versions[0].body["metadata"]["labels"].get(OF_JOB, ""))
        counted: dict[str, Counter[int]] = defaultdict(Counter)
        for name in ran & self.jobs.keys():
            job = self.jobs[name][0]
            if job.project is not None:
                counted[job.project][job.attempt] += 1
        return {project: dict(numbers) for project, numbers in counted.items()}

    def unexplained_pods(self, projects: Collection[str]) -> list[str]:
        """Return pods of these projects that replaced a pod without a disruption."""
        by_job: dict[str, list[list[ObjectVersion]]] = defaultdict(list)
        for versions in sorted(self.pods.values(), key=lambda versions: versions[0].revision):
            if versions[0].project in projects:
                by_job[versions[0].body["metadata"]["labels"].get(OF_JOB, "")].append(versions)
        return [
            after[0].name
            for pods in by_job.values()
            for before, after in pairwise(pods)
            if not self.was_disrupted(before[0].name)
        ]

    def _last(self, kind: dict[str, list[ObjectVersion]], project: str) -> list[ObjectVersion]:
        own = [versions for versions in list(kind.values()) if versions[0].project == project]
        return [versions[-1] for versions in sorted(own, key=lambda versions: versions[0].revision)]

    def _follow(self, kind: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        objects: dict[str, list[ObjectVersion]] = getattr(self, kind)
        for line in process.stdout:
            event = json.loads(line)
            body: Body = event["object"]
            if event["type"] not in {"ADDED", "MODIFIED", "DELETED"}:
                self.problem = f"the watch of {kind} reported {event}"
                return
            version = ObjectVersion(int(body["metadata"]["resourceVersion"]), body, gone=event["type"] == "DELETED")
            objects[version.name].append(version)
        if not self._leaving:
            self.problem = f"the watch of {kind} has ended"


def _revision(version: ObjectVersion) -> int:
    return version.revision


def _as_of(kind: dict[str, list[ObjectVersion]], at: int | None) -> Iterator[ObjectVersion]:
    for versions in list(kind.values()):
        until = [version for version in list(versions) if at is None or version.revision <= at]
        if until:
            yield until[-1]


def _pod_has_ended(version: ObjectVersion) -> bool:
    return version.gone or version.phase in {"Succeeded", "Failed"}


def _job_has_ended(version: ObjectVersion) -> bool:
    return version.gone or is_tombstone(version.body) or version.has("Complete", "Failed")


def _has_run(version: ObjectVersion) -> bool:
    return any({"running", "terminated"} & container.get("state", {}).keys() for container in _containers(version))


def _containers(version: ObjectVersion) -> list[Body]:
    status: Body = version.body.get("status", {})
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
