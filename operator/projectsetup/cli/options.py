"""Arguments and options that several commands have, and how their values are checked."""

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
from projectsetup.cli.output import Format
from projectsetup.git_hosts import GitHosts, InvalidHosts

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_KINDS: Final = {"project", SINGULAR, PLURAL, SHORT_NAME, f"{SINGULAR}.{GROUP}", f"{PLURAL}.{GROUP}"}
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def project_id(text: str | UUID) -> UUID:
    """The project id that `text` is, alone or as `-o name` prints it."""
    kind, slash, name = str(text).rpartition("/")
    if slash and kind in _KINDS:
        text = name
    if isinstance(text, str) and not _UUID.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is no project id: a UUID; projectsetup projects list shows those there are")
    return UUID(str(text))


def namespace(text: str) -> str:
    """The name of a namespace that `text` is."""
    if not _DNS_LABEL.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is no name of a namespace")
    return text


def annotation_value(name: str) -> Callable[[str], str]:
    """Takes what the annotation `name` may have as its value."""

    def parse(text: str) -> str:
        try:
            parse_annotations({name: text})
        except InvalidAnnotation as exc:
            raise typer.BadParameter(str(exc)) from exc
        return text

    return parse


def git_hosts(text: str | GitHosts) -> GitHosts:
    """The hosts that `text` lists."""
    try:
        return text if isinstance(text, GitHosts) else GitHosts.configured(text)
    except InvalidHosts as exc:
        raise typer.BadParameter(str(exc)) from exc


def duration(text: str) -> timedelta:
    """The duration that `text` is."""
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def parameters(given: list[str] | None) -> dict[str, str]:
    """The parameters that `k=v` options amount to."""
    found: dict[str, str] = {}
    for item in given or ():
        name, equals, value = item.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{item!r} is not of the form name=value", param_hint="'--param'")
        if name in found:
            raise typer.BadParameter(f"{name} is given twice", param_hint="'--param'")
        found[name] = value
    return found


def project_argument(offer: completion.Offer, *, help: str = "Id of the project, a UUID.") -> Any:  # noqa: A002  # as Typer calls it
    """The argument ID; the shell completes it to what `offer` offers."""
    return typer.Argument(parser=project_id, metavar="ID", help=help, autocompletion=completion.silently(offer))


ProjectId = Annotated[UUID, project_argument(completion.projects)]

Output = Annotated[
    Format, typer.Option("--output", "-o", help="A table for people, json or yaml for scripts, or the names alone.")
]

_CLUSTER: Final = "Which cluster"

Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        parser=namespace,
        metavar="NS",
        help="Namespace of the ProjectSetup; without it, the one of the context.",
        autocompletion=completion.silently(completion.namespaces),
        rich_help_panel=_CLUSTER,
    ),
]

Context = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Context of the kubeconfig; without it, the current one.",
        autocompletion=completion.silently(completion.contexts),
        rich_help_panel=_CLUSTER,
    ),
]

KubeconfigFile = Annotated[
    str | None,
    typer.Option(
        "--kubeconfig",
        metavar="FILE",
        help="The kubeconfig; without it, $KUBECONFIG or ~/.kube/config.",
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
        help="Namespace that the operator runs in; without it, `default`.",
        autocompletion=completion.silently(completion.namespaces),
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
        help="Directory with recipes of your own, besides those built in.",
    ),
]
