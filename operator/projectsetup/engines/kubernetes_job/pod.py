"""The pod of an attempt: a container for each stage, one after another, around one workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from math import ceil
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from projectsetup.engines.kubernetes_job.plan import Stage, stages_of
from projectsetup.recipes.patterns import posix_alternatives
from projectsetup.setup.environment import private_paths, project_environment, step_variables
from projectsetup.setup.git import base_environment, credential_helpers, repository_hosts, ssh_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from projectsetup.engines.base import AttemptSpec
    from projectsetup.recipes.model import Step

ROOT: Final = PurePosixPath("/setup")
WORKSPACE: Final = ROOT / "workspace"
SCRATCH: Final = ROOT / "stage"
SECRETS: Final = PurePosixPath("/var/run/secrets/setup.codemyspec.com/git")
PRIVATE: Final = PurePosixPath("/var/run/secrets/setup.codemyspec.com/private")
FRESH: Final = PurePosixPath("/fresh")
OUTPUTS: Final = "/dev/termination-log"
USER: Final = 65532
"""An arbitrary uid, which images for unprivileged use call `nonroot`."""

GRACE: Final = 10
"""Seconds between SIGTERM and SIGKILL."""

_SCRIPT: Final = files("projectsetup.engines.kubernetes_job").joinpath("stage.sh").read_text("utf-8")
STAGE_SCRIPT: Final = "\n".join(line for line in map(str.strip, _SCRIPT.splitlines()) if line and line[0] != "#")
"""Runs the steps of a stage: `stage.sh` without its comments, since every write of a Job or its pod contains it."""

_MESSAGE_BYTES: Final = 4096
_POD_MESSAGE_BYTES: Final = 12_288
"""What the kubelet keeps of one termination message, and of all messages of a pod together, in equal shares."""

_INJECTED: Final = 2
"""Containers that a cluster may add to the pod, and which get a share as well."""


@dataclass(frozen=True, slots=True)
class PodSettings:
    """The administrator's settings for every Job and its pods.

    `queue`: a LocalQueue of Kueue, which then decides when a Job may start. `ttl`: seconds that a Job stays after its
    end. `start_limit`: seconds that a pod may take to start its first step. `index_secret`: an optional Secret whose
    keys become variables of the steps without credentials. `environment`: variables of every step; it holds no secrets
    and no paths of the operator's file system. `allow_file_repos`: git may use repositories in the file system.
    """

    priority_class: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    queue: str | None = None
    ttl: int = 3600
    start_limit: float = 300.0
    image_pull_secrets: tuple[str, ...] = ()
    index_secret: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    allow_file_repos: bool = False


def literal(text: str) -> str:
    """Escape `text` for `command`, `args` and `env`, where the kubelet replaces `$(NAME)` and `$$`."""
    return text.replace("$", "$$")


def attempt_pod(attempt: AttemptSpec, settings: PodSettings) -> dict[str, Any]:
    """Return the pod spec. Every stage but the last is an init container."""
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
    """Return a pod spec that the restricted Pod Security Standard admits, without access to the API server."""
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
        arguments = (
            *(budget, len(attempt.recipe.steps), number, GRACE),
            *_places(attempt, stage),
            *_step_arguments(stage.steps, ceil(attempt.timeout), attempt.traceparents),
        )
        environment = _environment(attempt, settings, stage)
        yield {
            "name": stage.name,
            "image": stage.image,
            "command": ["sh", "-c", literal(STAGE_SCRIPT), "stage"],
            "args": [literal(str(argument)) for argument in arguments],
            "env": [{"name": name, "value": literal(value)} for name, value in environment.items()],
            **_index_login(settings, stage),
            "resources": attempt.recipe.resources.model_dump(exclude_none=True),
            "volumeMounts": _mounts(attempt, stage),
            "terminationMessagePath": OUTPUTS,
            "terminationMessagePolicy": "File",
        }
        number += len(stage.steps)


def _places(attempt: AttemptSpec, stage: Stage) -> tuple[PurePosixPath | str, ...]:
    """The scratch directory of the stage, its Secret and private volumes, and its ssh command."""
    if not stage.credentials:
        return SCRATCH, "", "", "", ""
    secrets = SECRETS if attempt.credentials_secret is not None else ""
    return PRIVATE / "stage", secrets, PRIVATE, FRESH, ssh_command(PRIVATE)


def _step_arguments(steps: tuple[Step, ...], longest: int, traceparents: Mapping[str, str]) -> Iterator[str]:
    """The script's arguments for each step. A timeout beyond that of the attempt never expires."""
    for step in steps:
        yield step.name
        yield str(min(ceil(step.timeout.total_seconds()), longest + 1))
        yield posix_alternatives(step.retry.output)
        yield step.run
        variables = step_variables(step, traceparents)
        yield str(len(variables))
        yield from (f"{name}={value}" for name, value in variables.items())


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
    """All stages can write below `ROOT`; the other volumes are mounted in stages with credentials only."""
    mounts: list[dict[str, Any]] = [{"name": "work", "mountPath": str(ROOT)}]
    if stage.credentials:
        mounts += [{"name": "private", "mountPath": str(PRIVATE)}, {"name": "fresh", "mountPath": str(FRESH)}]
        if attempt.credentials_secret is not None:
            mounts.append({"name": "git", "mountPath": str(SECRETS), "readOnly": True})
    return mounts
