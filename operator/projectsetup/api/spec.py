"""`.spec` of a ProjectSetup. The docstrings of the fields are their descriptions in the CRD."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from projectsetup.api.fields import Duration, RecipeName, SecretName
from projectsetup.text import DESCRIPTION_LENGTH, NAME_LENGTH, URL_LENGTH

if TYPE_CHECKING:
    from pydantic.config import JsonDict

PARAMETERS_MAX_NUMBER: Final = 64
PARAMETER_MAX_LENGTH: Final = 4096
PARAMETERS_MAX_BYTES: Final = 32_768
"""Limit for all names and values together, in UTF-8."""

_SPEC = ConfigDict(
    frozen=True, strict=True, alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
)

Parameters = Annotated[
    Mapping[str, Annotated[str, Field(max_length=PARAMETER_MAX_LENGTH)]],
    Field(max_length=PARAMETERS_MAX_NUMBER),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": PARAMETERS_MAX_NUMBER,
            "additionalProperties": {
                "description": "Value of the parameter.",
                "type": "string",
                "maxLength": PARAMETER_MAX_LENGTH,
            },
        }
    ),
]


_PARAMETERS_SIZE: Final[JsonDict] = {
    "rule": f"self.map(name, bytes(name).size() + bytes(self[name]).size()).sum() <= {PARAMETERS_MAX_BYTES}",
    "message": f"spec.parameters: at most {PARAMETERS_MAX_BYTES} bytes, names and values together",
}


def _immutable(field: str, *rules: JsonDict) -> JsonDict:
    message = f"{field} is immutable; delete the ProjectSetup and create a new one"
    return {"x-kubernetes-validations": [{"rule": "self == oldSelf", "message": message}, *rules]}


class CredentialsSecretRef(BaseModel):
    """The Secret with the credentials for the project's repositories."""

    model_config = _SPEC

    name: SecretName
    """Name of a Secret in the namespace of the ProjectSetup."""


class ProjectFields(BaseModel):
    """The project itself, so that git alone is enough."""

    model_config = _SPEC

    name: Annotated[str, Field(min_length=1, max_length=NAME_LENGTH)]
    """Name of the project, unique among all projects."""

    code_repo: Annotated[str, Field(min_length=1, max_length=URL_LENGTH)]
    """URL of the repository for the code. It belongs to this project alone."""

    docs_repo: Annotated[str, Field(min_length=1, max_length=URL_LENGTH)] | None = None
    """URL of the repository for the documentation. It belongs to this project alone."""

    description: Annotated[str, Field(max_length=DESCRIPTION_LENGTH)] | None = None
    """Description of the project."""


class ProjectSetupSpec(BaseModel):
    """The setup that the user requests."""

    model_config = _SPEC

    recipe: Annotated[RecipeName, Field(json_schema_extra=_immutable("spec.recipe"))] = "python-service"
    """Name of the recipe that sets up the project. Immutable."""

    parameters: Annotated[Parameters, Field(json_schema_extra=_immutable("spec.parameters", _PARAMETERS_SIZE))] = {}
    """Values for the parameters that the recipe declares. Immutable."""

    project: Annotated[ProjectFields | None, Field(json_schema_extra=_immutable("spec.project"))] = None
    """The project itself. It is created if no project has this id; otherwise every given field must match the project.
    Immutable."""

    credentials_secret_ref: CredentialsSecretRef | None = None
    """Credentials for the project's repositories, a Secret with `username` and `password` (or `token`), or with
    `ssh-privatekey` and `known_hosts`. Only the steps that declare `credentials: true` see it."""

    suspend: bool = False
    """Whether to start no attempts. A running attempt is stopped and does not count."""

    timeout: Duration = timedelta(minutes=30)
    """Time limit of one attempt, a duration such as `90s`, `30m` or `1h30m`."""
