"""The pod of an attempt: a container for each stage, one after another, around one workspace."""

from __future__ import annotations

from importlib.resources import files
from math import ceil
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from projectsetup.engines.kubernetes_job.expansion import literal
from projectsetup.engines.kubernetes_job.stages import Stage, stages_of
from projectsetup.recipes.patterns import posix_pattern
from projectsetup.setup.environment import private_paths, project_environment
from projectsetup.setup.git import base_environment, credential_helpers, repository_hosts, ssh_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from projectsetup.engines.base import AttemptSpec
    from projectsetup.engines.kubernetes_job.attempt import PodSettings
    from projectsetup.recipes.model import Step

ROOT: Final = PurePosixPath("/setup")
WORKSPACE: Final = ROOT / "workspace"
SCRATCH: Final = ROOT / "stage"
SECRETS: Final = PurePosixPath("/var/run/secrets/setup.codemyspec.com/git")
PRIVATE: Final = PurePosixPath("/var/run/secrets/setup.codemyspec.com/private")
FRESH: Final = PurePosixPath("/fresh")
OUTPUTS: Final = "/dev/termination-log"
USER: Final = 65532
"""Of no account in particular; images for unprivileged use know it as `nonroot`."""

GRACE: Final = 10
"""Seconds between SIGTERM and SIGKILL."""

_SCRIPT: Final = files("projectsetup.engines.kubernetes_job").joinpath("stage.sh").read_text("utf-8")
STAGE_SCRIPT: Final = "\n".join(line for line in map(str.strip, _SCRIPT.splitlines()) if line and line[0] != "#")
"""Runs the steps of a stage: `stage.sh`, without its comments, since every write of a Job or its pod carries it."""

_MESSAGE_BYTES: Final = 4096
_POD_MESSAGE_BYTES: Final = 12_288
"""What the kubelet keeps of one termination message, and of all of a pod together, shared equally."""

_INJECTED: Final = 2
"""Containers that a cluster may add to the pod, and which get their share as well."""


def attempt_pod(attempt: AttemptSpec, settings: PodSettings) -> dict[str, Any]:
    """The pod's spec: every stage but the last is an init container."""
    stages = stages_of(attempt.recipe)
    *before, last = _containers(attempt, settings, stages)
    volumes: list[dict[str, Any]] = [{"name": "work", "emptyDir": {"sizeLimit": attempt.recipe.workspace_size}}]
    if any(stage.credentials for stage in stages):
        volumes += [
            {"name": "private", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "fresh", "emptyDir": {"sizeLimit": attempt.recipe.workspace_size}},
        ]
        if attempt.credentials_secret is not None:
            secret = {"secretName": attempt.credentials_secret, "defaultMode": 0o440}
            volumes.append({"name": "git", "secret": secret})
    return {
        **hardened_pod(last, *before),
        **_placement(settings),
        "terminationGracePeriodSeconds": GRACE,
        "volumes": volumes,
    }


def hardened_pod(container: Mapping[str, Any], *before: Mapping[str, Any]) -> dict[str, Any]:
    """A pod that the restricted Pod Security Standard admits, without access to the API server."""
    harder = {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **({"initContainers": [{**init, **harder} for init in before]} if before else {}),
        "containers": [{**container, **harder}],
    }


def _placement(settings: PodSettings) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "priorityClassName": settings.priority_class,
        "nodeSelector": dict(settings.node_selector),
        "tolerations": [dict(toleration) for toleration in settings.tolerations],
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
    }
    return {key: value for key, value in chosen.items() if value}


def _containers(attempt: AttemptSpec, settings: PodSettings, stages: tuple[Stage, ...]) -> Iterator[dict[str, Any]]:
    budget = min(_MESSAGE_BYTES, _POD_MESSAGE_BYTES // (len(stages) + _INJECTED))
    number = 1
    for stage in stages:
        words = (
            *(budget, len(attempt.recipe.steps), number, GRACE),
            *_places(attempt, stage),
            *_words(stage.steps, ceil(attempt.timeout)),
        )
        environment = _environment(attempt, settings, stage)
        yield {
            "name": stage.name,
            "image": stage.image,
            "command": ["sh", "-c", literal(STAGE_SCRIPT), "stage"],
            "args": [literal(str(word)) for word in words],
            "env": [{"name": name, "value": literal(value)} for name, value in environment.items()],
            **_index_login(settings, stage),
            "resources": attempt.recipe.resources.model_dump(exclude_none=True),
            "volumeMounts": _mounts(attempt, stage),
            "terminationMessagePath": OUTPUTS,
            "terminationMessagePolicy": "File",
        }
        number += len(stage.steps)


def _places(attempt: AttemptSpec, stage: Stage) -> tuple[PurePosixPath | str, ...]:
    """The scratch directory of the stage, and where its Secret and private volumes are."""
    if not stage.credentials:
        return SCRATCH, "", "", "", ""
    secrets = SECRETS if attempt.credentials_secret is not None else ""
    return PRIVATE / "stage", secrets, PRIVATE, FRESH, ssh_command(PRIVATE)


def _words(steps: tuple[Step, ...], longest: int) -> Iterator[str]:
    """What the script wants of each step. The Job ends before a timeout that is longer than its own."""
    for step in steps:
        yield step.name
        yield str(min(ceil(step.timeout.total_seconds()), longest + 1))
        yield "|".join(f"({posix_pattern(pattern)})" for pattern in step.retry.output)
        yield step.run
        yield str(len(step.env))
        yield from (f"{name}={value}" for name, value in step.env.items())


def _environment(attempt: AttemptSpec, settings: PodSettings, stage: Stage) -> dict[str, str]:
    return {
        "LANG": "C.UTF-8",
        **settings.environment,
        **project_environment(attempt.project, attempt.parameters, attempt=attempt.number, workspace=WORKSPACE),
        **base_environment(allow_file=settings.allow_file_repos),
        **(_trusted_environment(attempt) if stage.credentials else {}),
        "STEP_OUTPUTS": OUTPUTS,
    }


def _index_login(settings: PodSettings, stage: Stage) -> dict[str, Any]:
    if settings.index_secret is None or stage.credentials:
        return {}
    return {"envFrom": [{"secretRef": {"name": settings.index_secret, "optional": True}}]}


def _trusted_environment(attempt: AttemptSpec) -> dict[str, str]:
    places, repositories = private_paths(FRESH), attempt.project.repositories
    if attempt.credentials_secret is None:
        return places
    return {**places, **credential_helpers(repositories), **repository_hosts(repositories)}


def _mounts(attempt: AttemptSpec, stage: Stage) -> list[dict[str, Any]]:
    """What earlier stages can write to is mounted at `ROOT` alone; what they cannot, in trusted stages alone."""
    mounts: list[dict[str, Any]] = [{"name": "work", "mountPath": str(ROOT)}]
    if stage.credentials:
        mounts += [{"name": "private", "mountPath": str(PRIVATE)}, {"name": "fresh", "mountPath": str(FRESH)}]
        if attempt.credentials_secret is not None:
            mounts.append({"name": "git", "mountPath": str(SECRETS), "readOnly": True})
    return mounts
