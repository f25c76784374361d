"""The commands `setup`, `retry` and `cancel`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

import typer

from projectsetup.api.constants import BACKOFF, MAX_ATTEMPTS, PRIORITY
from projectsetup.api.reasons import OVER
from projectsetup.cli import completion
from projectsetup.cli.options import (
    Context,
    KubeconfigFile,
    Namespace,
    annotation_value,
    duration,
    parameters,
    project_argument,
)


def setup(
    project_id: Annotated[UUID, project_argument(completion.projects_to_set_up)],
    *,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="R",
            help="Recipe to use. Cannot be changed later.",
            autocompletion=completion.silently(completion.recipes),
        ),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Parameter of the recipe; may be repeated.")
    ] = None,
    priority: Annotated[
        str | None,
        typer.Option(parser=annotation_value(PRIORITY), metavar="N", help="0 to 9, 0 first; 1 when never given."),
    ] = None,
    max_attempts: Annotated[
        str | None,
        typer.Option(parser=annotation_value(MAX_ATTEMPTS), metavar="N", help="1 to 20; 3 when never given."),
    ] = None,
    backoff: Annotated[
        str | None,
        typer.Option(
            parser=annotation_value(BACKOFF), metavar="D", help="Delay after the first attempt, such as 90s or 2m."
        ),
    ] = None,
    namespace: Namespace = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it is over; exit code 1 when it failed.")] = False,
    timeout: Annotated[
        timedelta | None, typer.Option(parser=duration, metavar="D", help="With --wait: the longest time to wait.")
    ] = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Set a project up: mark it in the record and apply its ProjectSetup.

    Where an earlier setup failed or was cancelled, it begins a new series of attempts.

    Called again while the setup is on its way, it changes only what is given.
    """
    if timeout is not None and not wait:
        raise typer.BadParameter("is of use only with --wait", param_hint="'--timeout'")
    given = {PRIORITY: priority, MAX_ATTEMPTS: max_attempts, BACKOFF: backoff}
    annotations = {name: value for name, value in given.items() if value is not None}
    found = parameters(param)

    from projectsetup.cli.running import run
    from projectsetup.cli.setting_up import set_up
    from projectsetup.cli.setup_plan import Wish
    from projectsetup.kube.connection import Kubeconfig

    wish = Wish(recipe, found or None, annotations)
    run(set_up(Kubeconfig(kubeconfig, context), project_id, namespace, wish, wait=wait, limit=timeout))


def retry(
    project_id: Annotated[UUID, project_argument(completion.setups_but(*completion.NOT_TO_RETRY))],
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Ask for another series of attempts after a setup failed or was cancelled."""
    from projectsetup.cli.requesting import request_retry
    from projectsetup.cli.running import run
    from projectsetup.kube.connection import Kubeconfig

    run(request_retry(Kubeconfig(kubeconfig, context), project_id, namespace))


def cancel(
    project_id: Annotated[UUID, project_argument(completion.setups_but(*OVER))],
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Stop a setup that is queued or running."""
    from projectsetup.cli.requesting import request_cancel
    from projectsetup.cli.running import run
    from projectsetup.kube.connection import Kubeconfig

    run(request_cancel(Kubeconfig(kubeconfig, context), project_id, namespace))
