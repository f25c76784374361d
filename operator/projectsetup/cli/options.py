"""Arguments and options that several commands share, how their values are checked, and examples for the help."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from projectsetup.api.annotations import InvalidAnnotation, parse_annotations
from projectsetup.api.constants import GROUP, PLURAL, SHORT_NAME, SINGULAR
from projectsetup.api.durations import parse_duration
from projectsetup.cli import completion
from projectsetup.cli.names import ProjectRef
from projectsetup.cli.output import Format
from projectsetup.git_hosts import GitHosts, InvalidHosts
from projectsetup.text import DNS_LABEL, harmful_character

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_KINDS: Final = {"project", SINGULAR, PLURAL, SHORT_NAME, f"{SINGULAR}.{GROUP}", f"{PLURAL}.{GROUP}"}


def examples(*commands: str) -> str:
    """The end of a help page: these commands, without the name of the program."""
    return "\n".join(("Examples:", *(f"  projectsetup {command}" for command in commands)))


def project_id(text: str | UUID) -> UUID:
    """Parse a project id."""
    if isinstance(text, str) and not _UUID.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is not a project id (expected a UUID)")
    return UUID(str(text))


def project(text: str | ProjectRef) -> ProjectRef:
    """Parse a project id, alone or as `-o name` prints it, or the name of a project, which may be any text."""
    if isinstance(text, ProjectRef):
        return text
    if character := harmful_character(text):
        raise typer.BadParameter(f"a project's name contains no {character}")
    kind, _, rest = text.rpartition("/")
    id_text = rest if kind in _KINDS else text
    return ProjectRef(text, UUID(id_text) if _UUID.fullmatch(id_text) else None)


def namespace(text: str) -> str:
    """Parse the name of a namespace."""
    if not re.fullmatch(DNS_LABEL, text):
        raise typer.BadParameter(f"{text!r} is not a valid namespace name")
    return text


def recipe_name(text: str) -> str:
    """Parse the name of a recipe."""
    if not re.fullmatch(DNS_LABEL, text):
        raise typer.BadParameter(f"{text!r} is not a valid recipe name")
    return text


def secret_name(text: str) -> str:
    """Parse the name of a Secret."""
    from pydantic import TypeAdapter, ValidationError

    from projectsetup.api.fields import SecretName

    try:
        return TypeAdapter(SecretName).validate_python(text)
    except ValidationError as exc:
        raise typer.BadParameter(f"{text!r} is not a valid name of a Secret") from exc


def annotation_value(name: str) -> Callable[[str], str]:
    """A parser of values of the annotation `name`."""

    def parse(text: str) -> str:
        try:
            parse_annotations({name: text})
        except InvalidAnnotation as exc:
            raise typer.BadParameter(str(exc)) from exc
        return text

    return parse


def git_hosts(text: str | GitHosts) -> GitHosts:
    """Parse a list of hosts."""
    try:
        return text if isinstance(text, GitHosts) else GitHosts.configured(text)
    except InvalidHosts as exc:
        raise typer.BadParameter(str(exc)) from exc


def duration(text: str) -> timedelta:
    """Parse a duration."""
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def parameters(given: list[str] | None) -> dict[str, str]:
    """Parse `--param NAME=VALUE` options."""
    found: dict[str, str] = {}
    for item in given or ():
        name, equals, value = item.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{item!r} is not of the form NAME=VALUE", param_hint="'--param'")
        if name in found:
            raise typer.BadParameter(f"parameter {name} is given more than once", param_hint="'--param'")
        found[name] = value
    return found


def project_argument(offer: completion.Offer, *, help: str = "Project id (a UUID), or its exact name.") -> Any:  # noqa: A002  # as Typer calls it
    """The argument ID, completed with what `offer` offers."""
    return typer.Argument(parser=project, metavar="ID", help=help, autocompletion=completion.completing(offer))


ProjectArgument = Annotated[ProjectRef, project_argument(completion.projects)]

Output = Annotated[
    Format, typer.Option("--output", "-o", help="A table for people, json or yaml for scripts, or names only.")
]

_CLUSTER: Final = "Cluster"

Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        parser=namespace,
        metavar="NS",
        help="Namespace of the ProjectSetup; the one of the context if omitted.",
        autocompletion=completion.completing(completion.namespaces),
        rich_help_panel=_CLUSTER,
    ),
]

Context = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Context of the kubeconfig; the current one if omitted.",
        autocompletion=completion.completing(completion.contexts),
        rich_help_panel=_CLUSTER,
    ),
]

KubeconfigFile = Annotated[
    str | None,
    typer.Option(
        "--kubeconfig",
        metavar="FILE",
        help="Path of the kubeconfig; $KUBECONFIG or ~/.kube/config if omitted.",
        rich_help_panel=_CLUSTER,
    ),
]

OperatorNamespace = Annotated[
    str | None,
    typer.Option(
        "--operator-namespace",
        "-n",
        parser=namespace,
        metavar="NS",
        envvar="PROJECTSETUP_OPERATOR_NAMESPACE",
        help="Namespace the operator runs in; `default` if omitted.",
        autocompletion=completion.completing(completion.namespaces),
        rich_help_panel=_CLUSTER,
    ),
]

RecipesDir = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        file_okay=False,
        metavar="DIR",
        envvar="PROJECTSETUP_RECIPES_DIR",
        help="Directory with your own recipes, beside the built-in ones.",
    ),
]
