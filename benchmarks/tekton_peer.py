"""Tekton: its controller on the cluster of a node, with the settings of its manifests, and its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.controllers import Process
from benchmarks.node import Bench, Body, Contender, Kind, Scripts, containers
from devcluster.build import Module, build_program
from devcluster.images import BUSYBOX, write_busybox
from devcluster.node.prerequisites import tool
from devcluster.ports import free_port
from tests.support.go_modules import Shipped, fetch

SOURCE: Final = "github.com/tektoncd/pipeline"
TEKTON: Final = Module(
    Path(__file__).with_name("tekton"),
    {"controller": f"{SOURCE}/cmd/controller", "entrypoint": f"{SOURCE}/cmd/entrypoint"},
    ("-mod=readonly", "-trimpath", "-ldflags=-s -w"),
)
MANIFESTS: Final = Shipped(TEKTON, SOURCE, "config")
TASK_RUN: Final = Kind("tekton.dev", "v1", "TaskRun", "taskruns")
PIPELINE_RUN: Final = Kind("tekton.dev", "v1", "PipelineRun", "pipelineruns")
_NAMESPACE: Final = "tekton-pipelines"
_IMAGE: Final = "devcluster.local/tekton-entrypoint:1"
_UNUSED_IMAGES: Final = ("nop", "sidecarlogresults", "shell", "workingdirinit")
_LIMIT: Final = 400
_DEFAULTS: Final = {"app.kubernetes.io/managed-by": "tekton-pipelines"}
"""The label that the webhook adds, without which the controller does not see the pods."""


def build() -> None:
    """Build or download what is missing. Raises DevclusterError."""
    for name in TEKTON.programs:
        build_program(name, TEKTON)
    fetch(MANIFESTS)


def install(bench: Bench, folder: Path) -> Process:
    """Install CRDs and settings, and load the image; the controller, not yet started."""
    archive = folder / "tekton.tar"
    programs = {"ko-app/entrypoint": build_program("entrypoint", TEKTON)}
    write_busybox(archive, tool("busybox"), name=_IMAGE, programs=programs)
    bench.cluster.load_image(archive)
    manifests = fetch(MANIFESTS)
    crds = [_without_conversion(path) for path in sorted((manifests / "300-crds").glob("*.yaml"))]
    settings = [yaml.safe_load(path.read_text()) for path in sorted(manifests.glob("config-*.yaml"))]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}
    bench.apply([namespace, *crds, *settings])
    unused = [f"-{name}-image={BUSYBOX}" for name in _UNUSED_IMAGES]
    environment = {
        "KUBECONFIG": str(bench.cluster.kubeconfig),
        "SYSTEM_NAMESPACE": _NAMESPACE,
        "CONFIG_FEATURE_FLAGS_NAME": "feature-flags",
        "CONFIG_LEADERELECTION_NAME": "config-leader-election-controller",
        "METRICS_DOMAIN": "tekton.dev/pipeline",
        "METRICS_PROMETHEUS_PORT": str(free_port()),
        "PROBES_PORT": str(free_port()),
    }
    command = [str(build_program("controller", TEKTON)), f"-entrypoint-image={_IMAGE}", f"-shell-image-win={BUSYBOX}"]
    return Process([*command, *unused], environment, folder / "tekton.log")


def task_runs(bench: Bench, scripts: Scripts) -> Contender:
    """TaskRuns: a pod with a container for each step."""

    def spec(name: str) -> Body:
        return {"serviceAccountName": "default", "timeout": "1h0m0s", "taskSpec": {"steps": containers(scripts(name))}}

    return bench.objects("Tekton TaskRun", TASK_RUN, spec, _succeeded, labels=_DEFAULTS, limit=_LIMIT)


def pipeline_runs(bench: Bench, scripts: Scripts) -> Contender:
    """PipelineRuns: a TaskRun, so a pod, for each step."""

    def spec(name: str) -> Body:
        tasks: list[Body] = []
        for step in containers(scripts(name)):
            after = {"runAfter": [tasks[-1]["name"]]} if tasks else {}
            tasks.append({"name": step["name"], "taskSpec": {"steps": [step]}, **after})
        template = {"serviceAccountName": "default"}
        return {"pipelineSpec": {"tasks": tasks}, "taskRunTemplate": template, "timeouts": {"pipeline": "1h0m0s"}}

    return bench.objects("Tekton PipelineRun", PIPELINE_RUN, spec, _succeeded, labels=_DEFAULTS, limit=_LIMIT)


def _succeeded(run: Any) -> bool:
    for condition in run.get("status", {}).get("conditions", ()):
        if condition["type"] == "Succeeded" and condition["status"] == "False":
            raise RuntimeError(f"a run of Tekton ended as {condition}")
        if condition["type"] == "Succeeded" and condition["status"] == "True":
            return True
    return False


def _without_conversion(path: Path) -> Body:
    """A CRD that is served without the webhook, which converts between versions that nothing here uses."""
    crd: Body = yaml.safe_load(path.read_text())
    crd["spec"].pop("conversion", None)
    return crd
