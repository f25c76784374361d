"""What the Job engine is asked to run, and how its pods are to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uuid import UUID

    from projectsetup.recipes.model import Recipe
    from projectsetup.setup.credentials import GitCredentials
    from projectsetup.setup.project import SetupProject


@dataclass(frozen=True, slots=True)
class JobAttempt:
    """Attempt `number` of a project under the record's `fence`, for the ProjectSetup `namespace`/`name` with `uid`.

    No other attempt has its `job_name`.

    `parameters` are complete and checked. `timeout`, in seconds, is that of the whole attempt. `credentials_secret`
    names the Secret that the pod mounts; `credentials` are its values, used only to scrub what the pod tells.
    """

    namespace: str
    name: str
    uid: str
    project: SetupProject
    recipe: Recipe
    parameters: Mapping[str, str]
    number: int
    fence: int
    job_name: str
    timeout: float
    credentials_secret: str | None = None
    credentials: GitCredentials | None = field(default=None, repr=False)
    allow_file_repos: bool = False


@dataclass(frozen=True, slots=True)
class Adopted:
    """An attempt that another operator started, or was about to start, under the name `job_name`.

    `fence` is that of the claim under which it goes on, not the one in the name. `digest` is that of
    the plan it was started with.
    """

    namespace: str
    name: str
    uid: str
    project_id: UUID
    number: int
    fence: int
    job_name: str
    digest: str
    credentials: GitCredentials | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What the operator's administrator wants of every Job.

    `queue` is a LocalQueue of Kueue, which then decides when a Job may start. `ttl` are the seconds that a Job stays
    after its end, `start_limit` those that a pod may take to start its first step. `index_secret` names a Secret
    whose keys are variables of the steps without credentials, where there is one. `environment` is what every step
    gets besides what it is told; it holds no secrets and no paths of the operator's own file system.
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
