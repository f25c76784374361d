"""Jobs and pods on a real API server without nodes; tests act as the controllers and the kubelet."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from projectsetup.engines.kubernetes_job.manifest import OURS, PROJECT
from projectsetup.kube.jobs import OF_JOB
from tests.support.operator_process import wait_for

Body = dict[str, Any]


class JobNamespace:
    """Jobs and pods in a new namespace of the API server of `kubeconfig`."""

    def __init__(self, kubeconfig: Path) -> None:
        api: Any = config.new_client_from_config(str(kubeconfig))
        self._batch, self._core = _apis(api)
        self._uids: dict[str, str] = {}
        self.namespace = f"jobs-{uuid.uuid4().hex[:8]}"
        self._core.create_namespace({"metadata": {"name": self.namespace}})
        self._core.create_namespaced_service_account(self.namespace, {"metadata": {"name": "default"}})

    def make_job(self, name: str, *, labels: Mapping[str, str] = OURS, project: uuid.UUID | None = None) -> str:
        """Create a Job that runs nothing; return its uid."""
        labels = {**labels, **({PROJECT: str(project)} if project else {})}
        body = _job(name, labels)
        self._uids[name] = str(self._batch.create_namespaced_job(self.namespace, body).metadata.uid)
        return self._uids[name]

    def make_pod(
        self,
        job_name: str,
        *,
        job_uid: str | None = None,
        labels: Mapping[str, str] = OURS,
        project: uuid.UUID | None = None,
    ) -> str:
        """Create a pod that this Job controls, by default the last one of that name; return the name of the pod."""
        job_uid = job_uid or self._uids[job_name]
        labels = {OF_JOB: job_uid, **labels, **({PROJECT: str(project)} if project else {})}
        name = f"{job_name}-{uuid.uuid4().hex[:5]}"
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job_name, "uid": job_uid, "controller": True}
        metadata = {"name": name, "labels": labels, "ownerReferences": [owner]}
        self._core.create_namespaced_pod(self.namespace, {"metadata": metadata, "spec": _pod_spec()})
        return name

    def set_pod_status(self, name: str, phase: str, **status: Any) -> None:
        """Write the status of a pod, as the kubelet does."""
        self._core.patch_namespaced_pod_status(name, self.namespace, {"status": {"phase": phase, **status}})

    def delete_pod(self, name: str) -> None:
        """Delete the pod at once."""
        self._core.delete_namespaced_pod(name, self.namespace, grace_period_seconds=0)

    def finish_deletion(self, name: str) -> None:
        """Remove the finalizers of a Job, as the garbage collector does once its pods are gone."""
        self._batch.patch_namespaced_job(name, self.namespace, {"metadata": {"finalizers": None}})

    def delete_job(self, name: str) -> None:
        """Delete the Job at once."""
        self._batch.delete_namespaced_job(name, self.namespace, propagation_policy="Background")

    def job(self, name: str) -> Any | None:
        """Return the Job, None if it does not exist."""
        try:
            return self._batch.read_namespaced_job(name, self.namespace)
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def allow_no_jobs(self) -> None:
        """Create a quota that leaves no room for a Job; returns once the API server applies it."""
        spec = {"hard": {"count/jobs.batch": "0"}}
        self._core.create_namespaced_resource_quota(self.namespace, {"metadata": {"name": "few"}, "spec": spec})
        status = {"status": {**spec, "used": {"count/jobs.batch": "0"}}}
        self._core.patch_namespaced_resource_quota_status("few", self.namespace, status)
        wait_for(self._is_full, "the API server to apply the quota")

    def _is_full(self) -> bool:
        try:
            self._batch.create_namespaced_job(self.namespace, _job("one-too-many", OURS), dry_run="All")
        except ApiException as error:
            return "exceeded quota" in str(error.body)
        return False

    def terminate_namespace(self) -> None:
        """Request the deletion of the namespace; without a controller it stays in deletion."""
        self._core.delete_namespace(self.namespace)

    def warn(self, about: str, uid: str, message: str, *, at: str) -> None:
        """Create a warning event about an object."""
        self._core.create_namespaced_event(
            self.namespace,
            {
                "metadata": {"generateName": "warning-"},
                "involvedObject": {"kind": "Job", "name": about, "namespace": self.namespace, "uid": uid},
                "type": "Warning",
                "reason": "FailedCreate",
                "message": message,
                "lastTimestamp": at,
            },
        )


def _apis(api: Any) -> tuple[Any, Any]:
    """Untyped clients, since they get plain dictionaries."""
    return client.BatchV1Api(api), client.CoreV1Api(api)


def _job(name: str, labels: Mapping[str, str]) -> Body:
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": _pod_spec()}},
    }


def _pod_spec() -> Body:
    return {"restartPolicy": "Never", "containers": [{"name": "one", "image": "none.invalid/x:1", "command": ["true"]}]}
