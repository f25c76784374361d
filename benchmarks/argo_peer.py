"""Argo Workflows: its controller on the cluster of a node, with the settings of its manifests, and its workflows."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.controllers import Process
from benchmarks.node import Bench, Body, Contender, Kind, Scripts, containers
from benchmarks.throughput import NAMESPACE
from devcluster.build import Module, build_program
from devcluster.images import write_busybox
from devcluster.node.prerequisites import tool
from devcluster.ports import free_port
from tests.support.go_modules import Shipped, fetch

VERSION: Final = "4.0.5"
SOURCE: Final = "github.com/argoproj/argo-workflows/v4"
RELEASE: Final = Shipped(Module(Path(__file__).with_name("argo-workflows"), {}, ()), SOURCE, ".")
WORKFLOW: Final = Kind("argoproj.io", "v1alpha1", "Workflow", "workflows")
_PROGRAMS: Final = {name: f"./cmd/{name}" for name in ("argoexec", "workflow-controller")}
_FLAGS: Final = ("-mod=readonly", "-trimpath", "-buildvcs=false", f"-ldflags=-s -w -X {SOURCE}.version=v{VERSION}")
_NAMESPACE: Final = "argo"
_IMAGE: Final = "devcluster.local/argoexec:1"
_LIMIT: Final = 600


def build() -> None:
    """Build or download what is missing. Raises DevclusterError."""
    argo = _argo()
    for name in argo.programs:
        build_program(name, argo)


def install(bench: Bench, folder: Path) -> Process:
    """Install CRDs, settings and the executor's rights, and load its image; the controller, not yet started."""
    argo = _argo()
    archive = folder / "argoexec.tar"
    write_busybox(archive, tool("busybox"), name=_IMAGE, programs={"bin/argoexec": build_program("argoexec", argo)})
    bench.cluster.load_image(archive)
    manifests = argo.folder / "manifests"
    crds = [yaml.safe_load(path.read_text()) for path in sorted(manifests.glob("base/crds/minimal/argoproj.io_*.yaml"))]
    settings = yaml.safe_load((manifests / "base/workflow-controller/workflow-controller-configmap.yaml").read_text())
    settings["metadata"]["namespace"] = _NAMESPACE
    settings["data"] = {"metricsConfig": f"port: {free_port()}\nsecure: true\n"}
    role = yaml.safe_load((manifests / "quick-start/base/executor/emissary/executor-role.yaml").read_text())
    role["metadata"]["namespace"] = NAMESPACE
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "executor", "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role["metadata"]["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": NAMESPACE}],
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}
    bench.apply([namespace, *crds, settings, role, binding])
    command = [
        str(build_program("workflow-controller", argo)),
        f"--kubeconfig={bench.cluster.kubeconfig}",
        f"--namespace={_NAMESPACE}",
        f"--executor-image={_IMAGE}",
    ]
    environment = {"LEADER_ELECTION_IDENTITY": "workflow-controller"}
    # It catches SIGTERM and does not exit.
    return Process(command, environment, folder / "argo.log", stop_signal=signal.SIGKILL)


def container_sets(bench: Bench, scripts: Scripts) -> Contender:
    """Workflows of one pod with a container for each step."""

    def spec(name: str) -> Body:
        steps = containers(scripts(name))
        for before, step in pairwise(steps):
            step["dependencies"] = [before["name"]]
        return {"entrypoint": "main", "templates": [{"name": "main", "containerSet": {"containers": steps}}]}

    return _workflows(bench, "Argo Workflows, ContainerSet", spec)


def pods(bench: Bench, scripts: Scripts) -> Contender:
    """Workflows with a pod for each step."""

    def spec(name: str) -> Body:
        steps = containers(scripts(name))
        templates = [{"name": step.pop("name"), "container": step} for step in steps]
        order = [[{"name": template["name"], "template": template["name"]}] for template in templates]
        return {"entrypoint": "main", "templates": [{"name": "main", "steps": order}, *templates]}

    return _workflows(bench, "Argo Workflows, a pod a step", spec)


def _argo() -> Module:
    """The release with all its files: the zip of a Go module leaves out symbolic links, and the executor needs one."""
    source = fetch(RELEASE)
    folder = source / "workflow/executor/osspecific"
    folder.chmod(0o755)  # modules are read-only
    with suppress(FileExistsError):
        (folder / "signal_linux.go").symlink_to("signal_darwin.go")
    return Module(source, _PROGRAMS, _FLAGS)


def _workflows(bench: Bench, title: str, spec: Callable[[str], Body]) -> Contender:
    return bench.objects(title, WORKFLOW, spec, _succeeded, limit=_LIMIT)


def _succeeded(workflow: Any) -> bool:
    phase = workflow.get("status", {}).get("phase")
    if phase in {"Failed", "Error"}:
        raise RuntimeError(f"a workflow ended as {workflow['status'].get('message', phase)}")
    return bool(phase == "Succeeded")
