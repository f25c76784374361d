"""The operator's settings, read from the environment."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from projectsetup.api.constants import ANNOTATION_PREFIX
from projectsetup.api.durations import parse_duration
from projectsetup.git_hosts import GitHosts
from projectsetup.observe.logs import LogFormat
from projectsetup.recipes.fields import amount
from projectsetup.text import DNS_LABEL


class InvalidSettings(ValueError):
    """A setting is missing or invalid; the text is one line that names it and contains no secret."""


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _bytes(value: object) -> object:
    return 0 if value == "0" else int(amount(value)) if isinstance(value, str) else value


def _names(value: object) -> object:
    return tuple(part for part in value.replace(",", " ").split() if part) if isinstance(value, str) else value


def _hosts(value: object) -> object:
    return GitHosts.configured(value) if isinstance(value, str) else value


def _pairs(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        return _yaml(value)
    pairs = [part.partition("=") for part in value.replace(",", " ").split()]
    if not all(key and equals for key, equals, _ in pairs):
        raise ValueError("must be KEY=VALUE pairs separated by commas, or a mapping in YAML or JSON")
    return {key: text for key, _, text in pairs}


def _yaml(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError("must be YAML or JSON") from error


_METADATA_KEY = r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
"""Name of a Kubernetes object."""


def _not_reserved(key: str) -> str:
    if key.startswith((ANNOTATION_PREFIX, "app.kubernetes.io/")):
        raise ValueError(f"{key} is reserved for the operator")
    return key


PodMetadata = dict[Annotated[str, Field(pattern=_METADATA_KEY), AfterValidator(_not_reserved)], str]
"""Labels or annotations for pods."""


class Toleration(BaseModel):
    """A toleration for pods, as in the core API."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    key: str | None = None
    operator: Literal["Exists", "Equal", "Lt", "Gt"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None

    def to_core_api(self) -> dict[str, Any]:
        """The toleration as the core API takes it."""
        return self.model_dump(by_alias=True, exclude_none=True)


class Settings(BaseSettings):
    """All settings. An empty variable counts as unset."""

    model_config = SettingsConfigDict(env_prefix="PROJECTSETUP_", env_ignore_empty=True, frozen=True)

    database_url: SecretStr = Field(validation_alias=AliasChoices("DATABASE_URL"))
    engine: Literal["local", "job"] = "local"
    concurrency: int = Field(default=4, ge=1, le=1000)
    namespaces: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = ()
    recipes_dir: Path | None = None
    workspace_root: Path = Field(default_factory=lambda: Path(tempfile.gettempdir()))
    allow_file_repos: bool = False
    confine_steps: bool = False
    git_hosts: Annotated[GitHosts, NoDecode, BeforeValidator(_hosts)] = Field(default_factory=GitHosts.configured)
    require_namespace: bool = False
    projects_from_spec: bool = True
    intake_namespace: str | None = None
    http_port: int = Field(default=8080, ge=0, le=65535)
    leader_election: bool = True
    operator_namespace: str | None = None
    dependency_limit: Annotated[timedelta, BeforeValidator(_duration)] = timedelta(minutes=10)
    log_limit: Annotated[int, BeforeValidator(_bytes)] = 1024 * 1024
    log_retention: Annotated[timedelta, BeforeValidator(_duration)] = timedelta(days=30)
    shutdown_grace: Annotated[timedelta, BeforeValidator(_duration)] = timedelta(seconds=20)
    job_ttl: Annotated[timedelta, BeforeValidator(_duration)] = timedelta(hours=1)
    job_start_limit: Annotated[timedelta, BeforeValidator(_duration)] = timedelta(minutes=5)
    job_priority_class: Name | None = None
    job_queue: Name | None = None
    job_image_pull_secrets: Annotated[tuple[Name, ...], NoDecode, BeforeValidator(_names)] = ()
    job_index_secret: Name | None = None
    job_node_selector: Annotated[dict[str, str], NoDecode, BeforeValidator(_pairs)] = Field(default_factory=dict)
    job_labels: Annotated[PodMetadata, NoDecode, BeforeValidator(_pairs)] = Field(default_factory=dict)
    job_annotations: Annotated[PodMetadata, NoDecode, BeforeValidator(_pairs)] = Field(default_factory=dict)
    job_tolerations: Annotated[tuple[Toleration, ...], NoDecode, BeforeValidator(_yaml)] = ()
    log_format: LogFormat = Field(default_factory=lambda: "console" if sys.stderr.isatty() else "json")

    @field_validator("recipes_dir", "workspace_root")
    @classmethod
    def _is_directory(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"{value} is not a directory")
        return value

    @field_validator("namespaces", "operator_namespace", "intake_namespace")
    @classmethod
    def _are_namespaces(cls, value: tuple[str, ...] | str | None) -> tuple[str, ...] | str | None:
        for name in (value,) if isinstance(value, str) else value or ():
            if not re.fullmatch(DNS_LABEL, name):
                raise ValueError(f"{name[:80]!r} is not a valid namespace name")
        return value

    @field_validator("intake_namespace")
    @classmethod
    def _is_served(cls, value: str | None, known: ValidationInfo) -> str | None:
        served = known.data.get("namespaces")
        if value is not None and served and value not in served:
            raise ValueError("is not one of PROJECTSETUP_NAMESPACES")
        return value


def load_settings() -> Settings:
    """The settings of this process. Raises InvalidSettings with one line about the first invalid one."""
    try:
        return Settings()
    except ValidationError as error:
        raise InvalidSettings(_one_line(error)) from error


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0])
    variable = name if name.isupper() else f"PROJECTSETUP_{name.upper()}"
    if first["type"] == "missing":
        return f"{variable} is required and not set"
    text = first["msg"].removeprefix("Value error, ")
    return f"{variable}{_shown(variable)}: {text}"


def _shown(variable: str) -> str:
    return "" if variable == "DATABASE_URL" else f"={os.environ.get(variable, '')[:80]}"
