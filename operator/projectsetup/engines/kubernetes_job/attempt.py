"""What the administrator wants of every Job and its pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What the operator's administrator wants of every Job.

    `queue` is a LocalQueue of Kueue, which then decides when a Job may start. `ttl` are the seconds that a Job stays
    after its end, `start_limit` those that a pod may take to start its first step. `index_secret` names a Secret
    whose keys are variables of the steps without credentials, where there is one. `environment` is what every step
    gets besides what it is told; it holds no secrets and no paths of the operator's own file system. With
    `allow_file_repos` git may use repositories in the file system.
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
