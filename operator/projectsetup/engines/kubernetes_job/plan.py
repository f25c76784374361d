"""The plan of a Job: the stages of its recipe, kept in an annotation for the operator that adopts the Job."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from projectsetup.api.constants import ANNOTATION_PREFIX
from projectsetup.api.reasons import Reason
from projectsetup.recipes.fields import DnsLabel, Duration
from projectsetup.recipes.model import Recipe, Retry, StepStatus
from projectsetup.setup.types import InfrastructureError, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from projectsetup.recipes.model import Step

PLAN: Final = ANNOTATION_PREFIX + "plan"
"""The annotation of a Job that holds its plan."""

_DIGEST: Final = "sha256:"


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps that run in one container, in order; the container has the name of the first."""

    image: str
    credentials: bool
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """The name of the container: unique in the recipe, and a DNS label."""
        return self.steps[0].name


def stages_of(recipe: Recipe) -> tuple[Stage, ...]:
    """Group consecutive steps with the same image and the same `credentials`; an isolated step stands alone."""
    groups: list[list[Step]] = []
    for step in recipe.steps:
        if groups and _share_container(recipe, groups[-1][-1], step):
            groups[-1].append(step)
        else:
            groups.append([step])
    return tuple(Stage(recipe.image_of(steps[0]), steps[0].credentials, tuple(steps)) for steps in groups)


def _share_container(recipe: Recipe, previous: Step, step: Step) -> bool:
    return (
        not (previous.isolate or step.isolate)
        and previous.credentials == step.credentials
        and recipe.image_of(previous) == recipe.image_of(step)
    )


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PlannedStep(_Part):
    """A step without its script."""

    name: DnsLabel
    status: StepStatus
    timeout: Duration
    retry: Retry = Retry()


class PlannedStage(_Part):
    """The steps of one container, which has the name of the first.

    `credentials`: they may have the credentials of the project; before 0.2, plans did not say so.
    """

    credentials: bool = True
    steps: Annotated[tuple[PlannedStep, ...], Field(min_length=1)]

    @property
    def name(self) -> str:
        """The name of the container."""
        return self.steps[0].name


class Plan(_Part):
    """The stages of a Job in order, and the timeout of the whole attempt in seconds."""

    timeout: float
    stages: Annotated[tuple[PlannedStage, ...], Field(min_length=1)]

    @classmethod
    def of(cls, recipe: Recipe, timeout: float) -> Self:
        """Plan an attempt that may take `timeout` seconds."""
        stages = [
            {
                "credentials": stage.credentials,
                "steps": [step.model_dump(include={"name", "status", "timeout", "retry"}) for step in stage.steps],
            }
            for stage in stages_of(recipe)
        ]
        return cls.model_validate({"timeout": timeout, "stages": stages})

    @classmethod
    def read(cls, job: Mapping[str, Any], digest: str) -> Self:
        """Read the plan of a Job, which must have this digest. Raises InfrastructureError if it has not.

        A digest of another kind, as versions before 0.2 wrote it, does not identify a plan.
        """
        metadata = job.get("metadata", {})
        text = (metadata.get("annotations") or {}).get(PLAN, "")
        name = metadata.get("name")
        if digest.startswith(_DIGEST) and _digest(text) != digest:
            message = f"the annotation {PLAN} of Job {name} was changed, so its steps are unknown"
            raise InfrastructureError(Reason.ENGINE_ERROR, message)
        try:
            return cls.model_validate_json(text)
        except ValidationError as exc:
            message = f"the annotation {PLAN} of Job {name} is unreadable, so its steps are unknown"
            raise InfrastructureError(Reason.ENGINE_ERROR, message) from exc

    def written(self) -> str:
        """Return the text that `read` reads. The digest depends on every byte of it."""
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), separators=(",", ":"))

    @property
    def digest(self) -> str:
        """Identifies the plan where others may have changed it."""
        return _digest(self.written())

    @property
    def containers(self) -> tuple[str, ...]:
        """The names of its containers, in order."""
        return tuple(stage.name for stage in self.stages)

    @property
    def steps(self) -> tuple[PlannedStep, ...]:
        """All steps, in order."""
        return tuple(step for stage in self.stages for step in stage.steps)

    def progress_at(self, step_name: str) -> Progress | None:
        """Return the progress when that step begins; None if there is no such step."""
        return next((progress for progress in self._progress() if progress.step == step_name), None)

    def _progress(self) -> Iterator[Progress]:
        steps = self.steps
        for completed, step in enumerate(steps):
            yield Progress(step.status, step.name, completed, len(steps))


def _digest(written: str) -> str:
    return _DIGEST + hashlib.sha256(written.encode()).hexdigest()
