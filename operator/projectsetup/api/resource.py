"""A ProjectSetup as the API server returns it. Parsing never fails."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from projectsetup.api.annotations import InvalidAnnotation, Tuning, own_annotations, parse_annotations
from projectsetup.api.constants import CANCEL_REQUESTED_AT, RETRY_REQUESTED_AT
from projectsetup.api.fields import Timestamp, cut_message
from projectsetup.api.spec import ProjectSetupSpec
from projectsetup.api.status import Condition, ProjectSetupStatus, succeeded_condition

PROJECT_ID_PATTERN: Final = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
"""A project id: a UUID in lower case."""

_PROBLEMS: Final = {
    "value_error": "{error}",
    "missing": "is required",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have at most {max_length} entries",
}

_METADATA: Final = (
    "uid",
    "name",
    "namespace",
    "generation",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
)

_TIMESTAMP: Final[TypeAdapter[datetime]] = TypeAdapter(Timestamp)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Rank(NamedTuple):
    """A place in the start order: the least starts first."""

    priority: int
    queued_at: datetime
    place: str
    """`namespace/name`"""


class ProjectSetupResource(BaseModel):
    """One ProjectSetup. `problem` says what its user got wrong; the status is read regardless."""

    model_config = ConfigDict(frozen=True)

    uid: str
    name: str
    namespace: str
    generation: int
    resource_version: str
    created_at: datetime
    deleting: bool = False
    annotations: Mapping[str, str] = {}
    """Those that the operator reads."""
    spec: ProjectSetupSpec | None
    """None if it is invalid."""
    tuning: Tuning | None
    """None if an annotation is invalid."""
    problem: str | None = None
    """One line that says what is invalid in the name, spec or annotations; None if nothing is."""
    status: ProjectSetupStatus = ProjectSetupStatus()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def project_id(self) -> UUID:
        """The id of the project to set up."""
        return parse_project_id(self.name)

    @property
    def project_name(self) -> str | None:
        """The project's name in the record or, until an operator has reported it, in `spec.project`."""
        requested = self.spec.project.name if self.spec and self.spec.project else None
        return self.status.project_name or requested

    @property
    def recipe(self) -> str | None:
        """The name of its recipe; None if the spec is invalid."""
        return self.spec.recipe if self.spec else None

    @property
    def credentials_secret(self) -> str | None:
        """The name of the Secret with the credentials; None if there is none, or the spec is invalid."""
        reference = self.spec.credentials_secret_ref if self.spec else None
        return None if reference is None else reference.name

    @property
    def priority(self) -> int:
        """0 starts first. 0 as well if an annotation is invalid."""
        return self.tuning.priority if self.tuning else 0

    @property
    def queued_at(self) -> datetime:
        """When its series was queued; its creation time until an operator has seen it."""
        return self.status.queued_at or self.created_at

    @property
    def rank(self) -> Rank:
        """Its place in the start order."""
        return Rank(self.priority, self.queued_at, "/".join(self.key))

    @property
    def condition(self) -> Condition | None:
        """The `Succeeded` condition; None until an operator has seen the resource."""
        return succeeded_condition(self.status.conditions)

    @property
    def is_over(self) -> bool:
        """Whether the setup has succeeded, failed or been cancelled."""
        return self.condition is not None and self.condition.status != "Unknown"

    @property
    def succeeded(self) -> bool:
        """Whether the setup has succeeded."""
        return self.condition is not None and self.condition.status == "True"

    @property
    def cancel_is_new(self) -> bool:
        """Whether a cancel was requested and not handled yet."""
        return self._is_new(CANCEL_REQUESTED_AT, self.status.last_handled_cancel)

    @property
    def retry_is_new(self) -> bool:
        """Whether a retry was requested and not handled yet."""
        return self._is_new(RETRY_REQUESTED_AT, self.status.last_handled_retry)

    def _is_new(self, annotation: str, handled: str | None) -> bool:
        requested = self.annotations.get(annotation)
        return bool(requested) and requested != handled


def parse_project_id(name: str) -> UUID:
    """The project id that `name` holds; the nil UUID, which no project has, if it is not a UUID."""
    return UUID(name) if re.fullmatch(PROJECT_ID_PATTERN[1:-1], name) else UUID(int=0)


def parse_resource(body: Mapping[str, Any]) -> ProjectSetupResource:
    """The resource in `body`, a decoded JSON or YAML object. Never raises: `problem` says what is wrong."""
    metadata = _mapping(body.get("metadata"))
    name = _text(metadata.get("name"))
    annotations = _mapping(metadata.get("annotations"))
    problems = [] if re.fullmatch(PROJECT_ID_PATTERN[1:-1], name) else [_not_a_project_id(name)]
    spec, tuning = None, None
    try:
        spec = _parse_spec(body.get("spec"))
    except ValidationError as exc:
        problems.append(_one_line(exc))
    try:
        tuning = parse_annotations(annotations)
    except InvalidAnnotation as exc:
        problems.append(str(exc))
    return ProjectSetupResource(
        uid=_text(metadata.get("uid")),
        name=name,
        namespace=_text(metadata.get("namespace")),
        generation=_number(metadata.get("generation")),
        resource_version=_text(metadata.get("resourceVersion")),
        created_at=_time(metadata.get("creationTimestamp")),
        deleting=bool(metadata.get("deletionTimestamp")),
        annotations=own_annotations(annotations),
        spec=spec,
        tuning=tuning,
        problem=cut_message(" ".join("; ".join(problems).split())) or None,
        status=_parse_status(body.get("status")),
    )


def essence(body: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of `body` that `parse_resource` reads, without labels, foreign annotations or managed fields."""
    metadata = _mapping(body.get("metadata"))
    kept: dict[str, Any] = {name: metadata[name] for name in _METADATA if name in metadata}
    kept["annotations"] = own_annotations(_mapping(metadata.get("annotations")))
    return {"metadata": kept, **{part: body[part] for part in ("spec", "status") if part in body}}


def _parse_spec(spec: object) -> ProjectSetupSpec:
    if isinstance(spec, Mapping):
        return ProjectSetupSpec.model_validate({key: value for key, value in spec.items() if value is not None})
    return ProjectSetupSpec.model_validate({} if spec is None else spec)


def _parse_status(status: object) -> ProjectSetupStatus:
    """The status without invalid fields: a status from another version must not stop this one."""
    fields = _mapping(status)
    try:
        return ProjectSetupStatus.model_validate(fields)
    except ValidationError as exc:
        bad = {error["loc"][0] for error in exc.errors(include_url=False, include_input=False)}
        return ProjectSetupStatus.model_validate({key: value for key, value in fields.items() if key not in bad})


def _one_line(exc: ValidationError) -> str:
    error = exc.errors(include_url=False, include_input=False)[0]
    path = ".".join(["spec", *(str(part) for part in error["loc"])])
    template = _PROBLEMS.get(error["type"])
    return f"{path}: " + (template.format_map(error.get("ctx", {})) if template else error["msg"])


def _not_a_project_id(name: str) -> str:
    return f"metadata.name {name!r} is not a project id (expected a UUID in lower case)"


def _mapping(value: object) -> dict[str, Any]:
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _time(value: object) -> datetime:
    try:
        return _TIMESTAMP.validate_python(value)
    except ValidationError:
        return _EPOCH
