"""What a Job tells of the recipe it was started with, so that whoever adopts it judges it by that."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from projectsetup.api.constants import ANNOTATION_PREFIX
from projectsetup.api.reasons import Reason
from projectsetup.engines.kubernetes_job.stages import stages_of
from projectsetup.recipes.fields import DnsLabel, Duration
from projectsetup.recipes.model import Recipe, Retry, StepStatus
from projectsetup.setup.errors import InfrastructureError
from projectsetup.setup.updates import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


PLAN = ANNOTATION_PREFIX + "plan"
"""The annotation of a Job that holds its plan."""


_DIGEST: Final = "sha256:"


def digest_of(written: str) -> str:
    """The digest of a plan as it is written."""
    return _DIGEST + hashlib.sha256(written.encode()).hexdigest()


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PlannedStep(_Part):
    """A step without what it runs."""

    name: DnsLabel
    status: StepStatus
    timeout: Duration
    retry: Retry = Retry()


class PlannedStage(_Part):
    """The steps of one container, which has the name of the first of them."""

    steps: Annotated[tuple[PlannedStep, ...], Field(min_length=1)]

    @property
    def name(self) -> str:
        """The name of the container."""
        return self.steps[0].name


class Plan(_Part):
    """The stages of a Job in their order, and the timeout of the whole attempt in seconds."""

    timeout: float
    stages: Annotated[tuple[PlannedStage, ...], Field(min_length=1)]

    @classmethod
    def of(cls, recipe: Recipe, timeout: float) -> Self:
        """The plan of an attempt that may take `timeout` seconds."""
        stages = [
            {"steps": [step.model_dump(include={"name", "status", "timeout", "retry"}) for step in stage.steps]}
            for stage in stages_of(recipe)
        ]
        return cls.model_validate({"timeout": timeout, "stages": stages})

    @classmethod
    def read(cls, job: Mapping[str, Any], digest: str) -> Self:
        """The plan that a Job carries, which must have this digest. Raises InfrastructureError when it has not.

        A digest of another kind, as versions before 0.2 wrote it, tells nothing of the plan.
        """
        text = (job.get("metadata", {}).get("annotations") or {}).get(PLAN, "")
        name = job.get("metadata", {}).get("name")
        if digest.startswith(_DIGEST) and digest_of(text) != digest:
            message = f"somebody has changed the annotation {PLAN} of Job {name}, which tells what it runs"
            raise InfrastructureError(Reason.ENGINE_ERROR, message)
        try:
            return cls.model_validate_json(text)
        except ValidationError as exc:
            message = f"the Job {name} does not tell what it runs: its annotation {PLAN} cannot be read"
            raise InfrastructureError(Reason.ENGINE_ERROR, message) from exc

    def written(self) -> str:
        """As `read` reads it."""
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), separators=(",", ":"))

    @property
    def containers(self) -> tuple[str, ...]:
        """The names of its containers, in order."""
        return tuple(stage.name for stage in self.stages)

    @property
    def digest(self) -> str:
        """By which it is recognized where others may have changed it."""
        return digest_of(self.written())

    @property
    def steps(self) -> tuple[PlannedStep, ...]:
        """All steps, in order."""
        return tuple(step for stage in self.stages for step in stage.steps)

    def stage(self, container: str) -> PlannedStage | None:
        """The stage that runs in the container of that name; None when the container is none of ours."""
        return next((stage for stage in self.stages if stage.name == container), None)

    def update_at(self, step_name: str) -> Progress | None:
        """What is told when that step begins; None when there is no such step."""
        return next((update for update in self._updates() if update.step == step_name), None)

    def _updates(self) -> Iterator[Progress]:
        steps = self.steps
        for completed, step in enumerate(steps):
            yield Progress(step.status, step.name, completed, len(steps))
