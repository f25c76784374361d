"""Creates, changes and reads ProjectSetups on a real API server."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException

from devcluster.build import find_programs
from projectsetup.api.constants import API_VERSION, GROUP, KIND, PLURAL, PRIORITY, VERSION
from tests.support.operator_process import wait_for

ROOT: Final = Path(__file__).parents[2]
CRD_FILE: Final = ROOT / "crds" / "projectsetups.yaml"
POLICY_FILE: Final = ROOT / "manifests" / "base" / "admission-policy.yaml"

UNSEEN: Final = {"observedGeneration": -1}
"""The status of a ProjectSetup that no operator has reconciled."""

_SECONDS: Final = 20.0

Body = dict[str, Any]


class Refused(Exception):
    """The API server refused a write; the text is its message."""


class ApiServer:
    """The ProjectSetups in one namespace of the API server that `kubeconfig` names."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._kubeconfig = kubeconfig
        self.namespace = namespace
        self._kubectl = str(find_programs()["kubectl"])
        api = config.new_client_from_config(str(kubeconfig))
        self._objects = client.CustomObjectsApi(api)

    @classmethod
    def prepared(cls, kubeconfig: Path, namespace: str) -> ApiServer:
        """Create a namespace whose name begins with `namespace`, and the CRD unless it exists."""
        server = cls(kubeconfig, f"{namespace}-{uuid.uuid4().hex[:8]}")
        server.kubectl("create", "namespace", server.namespace)
        try:
            server.select("")
        except Refused:
            server.kubectl("apply", "-f", str(CRD_FILE))
            server.kubectl("wait", "--for=condition=Established", "--timeout=20s", "-f", str(CRD_FILE))
        return server

    def enforce_policy(self) -> None:
        """Apply the admission policy for annotations, and return once the API server enforces it."""
        self.kubectl("apply", "-f", str(POLICY_FILE))
        wait_for(lambda: self.enforces_policy, "the policy to be enforced")

    @property
    def enforces_policy(self) -> bool:
        """Whether the API server refuses a ProjectSetup with a bad annotation."""
        try:
            self.create(annotations={PRIORITY: "high"}, dry_run=True)
        except Refused:
            return True
        return False

    def create(
        self,
        name: str | None = None,
        *,
        spec: object = None,
        status: object = None,
        annotations: Mapping[str, str] | None = None,
        dry_run: bool = False,
    ) -> Body:
        """Create a ProjectSetup with these fields; without `name`, its name is a new UUID."""
        metadata = {"name": str(uuid.uuid4()) if name is None else name, "annotations": annotations}
        body: Body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata}
        body |= {key: value for key, value in (("spec", spec), ("status", status)) if value is not None}
        options: Body = {"dry_run": "All"} if dry_run else {}
        return self._call(self._objects.create_namespaced_custom_object, body=body, **options)

    def get(self, name: str) -> Body:
        """The stored ProjectSetup."""
        return self._call(self._objects.get_namespaced_custom_object, name=name)

    def patch(self, name: str, change: Mapping[str, Any]) -> Body:
        """Merge `change` into the ProjectSetup."""
        return self._call(self._objects.patch_namespaced_custom_object, name=name, body=change)

    def patch_status(self, name: str, status: Mapping[str, Any]) -> Body:
        """Merge `status` into the status of the ProjectSetup."""
        body = {"status": status}
        return self._call(self._objects.patch_namespaced_custom_object_status, name=name, body=body)

    def delete(self, name: str) -> None:
        """Delete the ProjectSetup."""
        self._call(self._objects.delete_namespaced_custom_object, name=name)

    def select(self, selector: str) -> set[str]:
        """The names of the ProjectSetups that match the field selector."""
        found = self._call(self._objects.list_namespaced_custom_object, field_selector=selector)
        return {item["metadata"]["name"] for item in found["items"]}

    def changes(self, name: str, *, since: str) -> list[Body]:
        """Every version of the ProjectSetup that was stored after the resourceVersion `since`, up to now."""
        newest = self.get(name)["metadata"]["resourceVersion"]
        found: list[Body] = []
        if newest == since:
            return found
        stream = watch.Watch().stream(
            self._objects.list_namespaced_custom_object,
            GROUP,
            VERSION,
            self.namespace,
            PLURAL,
            field_selector=f"metadata.name={name}",
            resource_version=since,
            timeout_seconds=int(_SECONDS),
        )
        for event in stream:
            found.append(dict(event["object"]))
            if found[-1]["metadata"]["resourceVersion"] == newest:
                return found
        raise AssertionError(f"the watch did not deliver version {newest} of {name}")

    def events(self, name: str) -> list[Body]:
        """The events on the ProjectSetup in order of time; an event that occurred n times is listed n times.

        The API server keeps no times in between: all but the first occurrence have the time of the last.
        """
        listed: Any = self._objects.list_namespaced_custom_object(
            "events.k8s.io", "v1", self.namespace, "events", _request_timeout=_SECONDS
        )
        own = [event for event in listed["items"] if event["regarding"].get("name") == name]
        return sorted((one for event in own for one in _occurrences(event)), key=lambda one: str(one["eventTime"]))

    def kubectl(self, *arguments: str, limit: float = _SECONDS) -> str:
        """Run kubectl in the namespace for at most `limit` seconds; returns its standard output."""
        command = [self._kubectl, f"--kubeconfig={self._kubeconfig}", f"--namespace={self.namespace}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _call(self, method: Callable[..., Any], **arguments: object) -> Body:
        try:
            answer: Body = method(GROUP, VERSION, self.namespace, PLURAL, _request_timeout=_SECONDS, **arguments)
        except ApiException as exc:
            raise Refused(str(exc.body)) from exc
        return answer


def _occurrences(event: Body) -> list[Body]:
    series = event.get("series")
    return [event, *([{**event, "eventTime": series["lastObservedTime"]}] * (series["count"] - 1) if series else ())]
