"""The recipe model: what administrators write in a recipe file.

The docstrings of fields are their descriptions in the JSON Schema, which editors show.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

from projectsetup.recipes.errors import InvalidParameters
from projectsetup.recipes.fields import (
    DnsLabel,
    Duration,
    ExitCode,
    Image,
    Line,
    OutputPattern,
    ParameterName,
    Quantity,
    Script,
    Text,
    ValuePattern,
    VariableName,
    amount,
)
from projectsetup.recipes.patterns import line_search, value_match

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.config import JsonDict

_NO_OTHER_NAMES: Final[JsonDict] = {"additionalProperties": False}
"""For the schema of a mapping: its keys must match the pattern of their type."""


class StepStatus(StrEnum):
    """Status of the project while a step runs."""

    INITIALIZING = "initializing"
    DEPS_INSTALLING = "deps_installing"
    SETTING_UP_AUTH = "setting_up_auth"
    COMPILING = "compiling"
    TESTING = "testing"
    COMMITTING = "committing"


class _Part(BaseModel):
    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )


class Parameter(_Part):
    """A parameter of a recipe; required if it has no default."""

    default: Text | None = None
    """Value if the ProjectSetup sets none. Without a default, it must set one."""
    pattern: ValuePattern | None = None
    """Regular expression of RE2 that the whole value must match."""
    description: Line = ""
    """One line for the users of the recipe."""

    @model_validator(mode="after")
    def _default_matches(self) -> Self:
        if self.default is not None and not self.allows(self.default):
            raise ValueError(f"the default must match the pattern {self.pattern}")
        return self

    def allows(self, value: str) -> bool:
        """Whether the whole value matches the pattern."""
        return "\0" not in value and (self.pattern is None or value_match(self.pattern)(value))


class Retry(_Part):
    """Which failures of a step are retryable, besides exit code 75."""

    exit_codes: tuple[ExitCode, ...] = Field((), strict=False)
    """Exit codes after which the attempt is retried."""
    output: tuple[OutputPattern, ...] = Field((), strict=False)
    """Regular expressions, searched for in each line that the step prints."""


class Step(_Part):
    """One step: a command, run in the workspace that all steps of an attempt share."""

    name: DnsLabel
    """Name of the step, unique in the recipe."""
    status: Annotated[StepStatus, Field(strict=False)]
    """Status of the project while the step runs."""
    run: Script
    """Script for `sh -euc`, in the workspace. Values of users come from variables: always write "$PROJECT_NAME"."""
    image: Image | None = None
    """Image of the step in the Job engine; that of the recipe if omitted."""
    timeout: Duration = timedelta(minutes=10)
    """Time limit, such as `90s`, `5m` or `1h30m`."""
    credentials: bool = False
    """Whether git has access to the project's repositories. Only for a step that runs nothing from the workspace."""
    isolate: bool = False
    """Whether the step has a container of its own in the Job engine."""
    env: dict[VariableName, Text] = Field(default_factory=dict, json_schema_extra=_NO_OTHER_NAMES)
    """More variables for the step."""
    retry: Retry = Retry()
    """Failures that another attempt may fix, besides exit code 75."""

    @field_validator("retry")
    @classmethod
    def _both_engines_find_the_same(cls, retry: Retry) -> Retry:
        """Checked here and not in `Retry`, which must still read the plans of Jobs that an older version started."""
        line_search(retry.output)
        return retry


class Amounts(_Part):
    """Amounts of resources, in Kubernetes quantities."""

    cpu: Quantity | None = None
    """Cores, such as `500m`."""
    memory: Quantity | None = None
    """Bytes of memory, such as `512Mi`."""
    ephemeral_storage: Quantity | None = Field(None, alias="ephemeral-storage")
    """Bytes of workspace, log and everything else that steps write."""


class Resources(_Part):
    """Requests and limits of each container in the Job engine. A missing limit means none."""

    requests: Amounts = Amounts()
    """What the node must have free."""
    limits: Amounts = Amounts()
    """What a container may use."""

    @model_validator(mode="after")
    def _requests_are_within_limits(self) -> Self:
        limits = self.limits.model_dump(exclude_none=True)
        for name, request in self.requests.model_dump(exclude_none=True).items():
            if name in limits and amount(request) > amount(limits[name]):
                raise ValueError(f"requests {request} of {name}, more than the limit of {limits[name]}")
        return self


DEFAULT_RESOURCES = Resources(
    requests=Amounts(cpu="100m", memory="256Mi", ephemeral_storage="512Mi"),
    limits=Amounts(memory="2Gi", ephemeral_storage="4Gi"),
)
"""Enough to build and test a small service. No CPU limit: using idle CPU time harms nobody."""


class Recipe(_Part):
    """How a project is set up: steps, in order."""

    name: DnsLabel
    """Name of the recipe, the value of `spec.recipe`."""
    description: Line = ""
    """One line that says what is set up."""
    image: Image
    """Image of all steps that name none, for the Job engine. It needs sh, coreutils, grep and awk, or busybox."""
    resources: Resources = DEFAULT_RESOURCES
    """Requests and limits of each container in the Job engine; they replace all defaults."""
    workspace_size: Quantity = "2Gi"
    """Size limit of the workspace in the Job engine."""
    parameters: dict[ParameterName, Parameter] = Field(default_factory=dict, json_schema_extra=_NO_OTHER_NAMES)
    """What a ProjectSetup can set in `spec.parameters`; each step finds the value in PARAM_NAME."""
    steps: tuple[Step, ...] = Field(strict=False, min_length=1, max_length=50)
    """The steps, in the order in which they run. The first that fails ends the attempt."""

    @model_validator(mode="after")
    def _step_names_are_unique(self) -> Self:
        name, count = Counter(step.name for step in self.steps).most_common(1)[0]
        if count > 1:
            raise ValueError(f"{count} steps are named {name}; step names must be unique")
        return self

    @cached_property
    def digest(self) -> str:
        """Identifies what the recipe says, whatever file it comes from."""
        return f"sha256:{hashlib.sha256(self.model_dump_json().encode()).hexdigest()}"

    def image_of(self, step: Step) -> str:
        """The image for the step in the Job engine."""
        return step.image or self.image

    def check_parameters(self, given: Mapping[str, str]) -> dict[str, str]:
        """All parameters by name, with defaults.

        Raises InvalidParameters about the first that is unknown, missing or does not match its pattern.
        """
        for name in sorted(given.keys() - self.parameters.keys()):
            known = ", ".join(sorted(self.parameters)) or "none"
            raise InvalidParameters(f"recipe {self.name} has no parameter {name[:63]!r}; it has: {known}")
        return {name: self._value(name, given.get(name)) for name in sorted(self.parameters)}

    def _value(self, name: str, given: str | None) -> str:
        parameter = self.parameters[name]
        value = parameter.default if given is None else given
        if value is None:
            raise InvalidParameters(f"recipe {self.name} requires the parameter {name}")
        if not parameter.allows(value):
            allowed = parameter.pattern or "text without NUL characters"
            raise InvalidParameters(f"parameter {name} of recipe {self.name} must match {allowed}")
        return value
