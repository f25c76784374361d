"""What the shell offers when Tab is pressed. Who cannot be asked in time has nothing to offer, and says nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import typer

from projectsetup.api.durations import parse_duration
from projectsetup.api.reasons import Phase

TIMEOUT: Final = "PROJECTSETUP_COMPLETION_TIMEOUT"
"""The variable with the time that who pressed Tab waits for cluster or database; 2s unless set."""
MOST: Final = 500
"""Choices that are asked for: with more there is nothing to see."""

Choices = list[tuple[str, str]]
"""Values, each with a word on what it is."""
Offer = Callable[[typer.Context], Choices]

NOT_TO_RETRY: Final = (Phase.SUCCEEDED, Phase.QUEUED, Phase.RUNNING)


def setups_but(*phases: Phase) -> Offer:
    """Offers the ProjectSetups of the namespace, but not those in these phases."""

    def offer(context: typer.Context) -> Choices:
        from projectsetup.cli.choices import setups

        return _in_time(setups(*_source(context), context.params.get("namespace"), phases, MOST))

    return offer


def projects(_: typer.Context) -> Choices:
    """Offers the projects of the record that DATABASE_URL names."""
    if not os.environ.get("DATABASE_URL"):
        return []
    from projectsetup.cli.recording import project_choices

    return _in_time(project_choices())


def projects_to_set_up(context: typer.Context) -> Choices:
    """Offers the projects of the record that are not ready."""
    return [(value, word) for value, word in projects(context) if not word.endswith(", ready")]


def namespaces(context: typer.Context) -> Choices:
    """Offers the namespaces of the cluster."""
    from projectsetup.cli.choices import namespaces as all_namespaces

    return _in_time(all_namespaces(*_source(context), MOST))


def contexts(context: typer.Context) -> Choices:
    """Offers the contexts of the kubeconfig."""
    from projectsetup.kube.connection import Kubeconfig
    from projectsetup.kube.connection import contexts as all_contexts

    return [(name, "") for name in all_contexts(Kubeconfig(_source(context)[0]))]


def recipes(context: typer.Context) -> Choices:
    """Offers the recipes, those built in and those of PROJECTSETUP_RECIPES_DIR."""
    from projectsetup.recipes.loader import RecipeBook

    directory = context.params.get("recipes_dir") or os.environ.get("PROJECTSETUP_RECIPES_DIR")
    return [(name, "") for name in RecipeBook(Path(directory) if directory else None).names()]


def silently(offer: Offer) -> Callable[[typer.Context, str], Any]:
    """`offer` as Typer takes it: whatever goes wrong, there is nothing on offer."""

    def autocompletion(ctx: typer.Context, incomplete: str) -> Iterable[tuple[str, str] | str]:  # noqa: ARG001  # Typer chooses those that fit
        try:
            return [(value, word) if word else value for value, word in offer(ctx)]
        except Exception:  # noqa: BLE001  # a traceback would end up on the line that is being typed
            return []

    return autocompletion


def _in_time(work: Awaitable[Choices]) -> Choices:
    async def limited() -> Choices:
        async with asyncio.timeout(parse_duration(os.environ.get(TIMEOUT, "2s")).total_seconds()):
            return await work

    return asyncio.run(limited())


def _source(context: typer.Context) -> tuple[str | None, str | None]:
    return context.params.get("kubeconfig"), context.params.get("context")
