"""Shell completion: what Tab offers, in shells and in `kubectl projectsetup`. On any failure it offers nothing."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shlex
from collections.abc import Awaitable, Callable, Iterable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import typer

from projectsetup.api.durations import parse_duration
from projectsetup.api.reasons import Phase
from projectsetup.cli.output import printable

if TYPE_CHECKING:
    from projectsetup.kube.client import Query
    from projectsetup.kube.connection import Kubeconfig

T = TypeVar("T")

TIMEOUT: Final = "PROJECTSETUP_COMPLETION_TIMEOUT"
"""Environment variable that limits how long Tab waits for cluster or database; 2s unless set."""
MAX_CHOICES: Final = 500
"""More would not fit on a screen."""
NO_FILES: Final = ":4"
"""cobra's ShellCompDirectiveNoFileComp: the shell offers no file names beside the choices."""
FILES: Final = ":0"

Choices = list[tuple[str, str]]
"""Values, each with a short description."""
Offer = Callable[[typer.Context], Choices]

_PLAIN: Final = re.compile(r"\w[\w.-]*")

NOT_TO_RETRY: Final = (Phase.SUCCEEDED, Phase.QUEUED, Phase.RUNNING)


def setups_except(*phases: Phase) -> Offer:
    """Offers the ProjectSetups of the namespace, except those in these phases."""

    def offer(context: typer.Context) -> Choices:
        from projectsetup.kube.setups import setups_path

        path = setups_path(_kubeconfig(context).namespace(context.params.get("namespace")))
        selector = ",".join(f"status.phase!={phase}" for phase in phases)
        bodies = _list(context, path, {"fieldSelector": selector})
        return _choices(
            (body["metadata"]["name"], status.get("projectName"), _progress(status))
            for body in bodies
            for status in (body.get("status", {}),)
        )

    return offer


def projects(_: typer.Context) -> Choices:
    """Offers the projects in the database that DATABASE_URL names."""
    url = os.environ.get("DATABASE_URL")
    if not url:
        return []
    from projectsetup.projects import ProjectRecord

    async def choices() -> Choices:
        async with ProjectRecord.connect(url) as record:
            return _choices((str(each.id), each.name, each.status) for each in await record.list())

    return _in_time(choices())


def projects_or_setups(context: typer.Context) -> Choices:
    """Offers the projects of the database, or without one the ProjectSetups of the namespace."""
    return projects(context) or setups_except()(context)


def projects_to_set_up(context: typer.Context) -> Choices:
    """Offers the projects that are not ready."""
    return [(value, description) for value, description in projects(context) if not description.endswith(", ready")]


def namespaces(context: typer.Context) -> Choices:
    """Offers the namespaces of the cluster."""
    return [(body["metadata"]["name"], "") for body in _list(context, "/api/v1/namespaces", {})]


def contexts(context: typer.Context) -> Choices:
    """Offers the contexts of the kubeconfig."""
    from projectsetup.kube.connection import contexts as all_contexts

    return [(name, "") for name in all_contexts(_kubeconfig(context))]


def recipes(context: typer.Context) -> Choices:
    """Offers the built-in recipes and those of PROJECTSETUP_RECIPES_DIR."""
    from projectsetup.recipes.loader import RecipeBook

    directory = context.params.get("recipes_dir") or os.environ.get("PROJECTSETUP_RECIPES_DIR")
    return [(name, "") for name in RecipeBook(Path(directory) if directory else None).names()]


def recipes_and_files(context: typer.Context) -> Choices:
    """Offers the recipe files of this folder, then what `recipes` offers."""
    files = sorted(path.name for path in Path().iterdir() if path.suffix in {".yaml", ".yml"})
    return [*((name, "") for name in files), *recipes(context)]


def completing(offer: Offer) -> Callable[[typer.Context, str], Any]:
    """`offer` in the form that Typer takes; it offers nothing when it fails."""

    def autocompletion(ctx: typer.Context, incomplete: str) -> Iterable[tuple[str, str] | str]:  # noqa: ARG001  # Typer filters the choices
        try:
            return [(value, description) if description else value for value, description in offer(ctx)]
        except Exception:  # noqa: BLE001  # a traceback would end up on the line that is being typed
            return []

    return autocompletion


def complete(words: list[str], run: Callable[..., int]) -> list[str]:
    """The choices for the last word, one per line with its description behind a tab, as the fish shell reads them.

    `run` runs the command line.
    """
    *typed, last = words or [""]
    line = shlex.join(["projectsetup", *typed]) + " " + (shlex.quote(last) if last else "")
    os.environ |= {
        "_PROJECTSETUP_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": line,
    }
    with redirect_stdout(io.StringIO()) as printed, suppress(SystemExit):
        run([], called_as="projectsetup")
    return [choice for choice in printed.getvalue().splitlines() if choice]


def _choices(projects: Iterable[tuple[str, str | None, str]]) -> Choices:
    """Projects, given as id, name and state: first all ids, then the names that a shell takes without quotes."""
    known = list(projects)
    ids = [(id_, printable(", ".join(filter(None, (name, state))))) for id_, name, state in known]
    names = [(name, f"{id_}, {state}") for id_, name, state in known if name and _PLAIN.fullmatch(name)]
    return ids + names


def _list(context: typer.Context, path: str, query: Query) -> list[dict[str, Any]]:
    from projectsetup.kube.client import RestClient
    from projectsetup.kube.connection import connect

    async def bodies() -> list[dict[str, Any]]:
        async with await connect(_kubeconfig(context)) as api:
            everything: Query = {"resourceVersion": "0", "limit": MAX_CHOICES, **query}
            listed = await RestClient(api).call("list choices", "GET", path, query=everything)
        found: list[dict[str, Any]] = listed["items"]
        return found

    return _in_time(bodies())


def _in_time(work: Awaitable[T]) -> T:
    async def limited() -> T:
        async with asyncio.timeout(parse_duration(os.environ.get(TIMEOUT, "2s")).total_seconds()):
            return await work

    return asyncio.run(limited())


def _kubeconfig(context: typer.Context) -> Kubeconfig:
    from projectsetup.kube.connection import Kubeconfig

    return Kubeconfig(context.params.get("kubeconfig"), context.params.get("context"))


def _progress(status: dict[str, Any]) -> str:
    return printable(" ".join(filter(None, (status.get("phase"), status.get("step"), status.get("progress")))))
