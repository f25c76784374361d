"""The commands `setup`, `status`, `logs`, `history`, `retry`, `cancel` and `dashboard`."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated, Final

import typer

from projectsetup.api.constants import BACKOFF, MAX_ATTEMPTS, PRIORITY
from projectsetup.api.reasons import OVER
from projectsetup.cli import completion, options
from projectsetup.cli.names import ProjectRef
from projectsetup.cli.options import (
    Context,
    KubeconfigFile,
    Namespace,
    Output,
    ProjectArgument,
    annotation_value,
    duration,
    examples,
    parameters,
    project_argument,
    secret_name,
)
from projectsetup.cli.output import Format, LogFormat

app = typer.Typer()
_PANEL: Final = "Setups"
_ALL: Final = "all"

_ToSetUp = Annotated[ProjectRef, project_argument(completion.projects_to_set_up)]
_ToShow = Annotated[
    ProjectRef | None,
    project_argument(completion.setups_except(), help="Id or exact name of one project; all if omitted."),
]
_ToLog = Annotated[ProjectRef, project_argument(completion.projects_or_setups)]
_ToRetry = Annotated[ProjectRef, project_argument(completion.setups_except(*completion.NOT_TO_RETRY))]
_OperatorNamespace = Annotated[
    str | None,
    typer.Option(
        parser=options.namespace,
        metavar="NS",
        envvar="PROJECTSETUP_OPERATOR_NAMESPACE",
        help="Namespace the operator runs in; `default` if omitted.",
        autocompletion=completion.completing(completion.namespaces),
    ),
]
"""Without the short form of `options.OperatorNamespace`: `-n` is the namespace to show."""
_ToCancel = Annotated[ProjectRef, project_argument(completion.setups_except(*OVER))]
_Priority = Annotated[
    str | None, typer.Option(parser=annotation_value(PRIORITY), metavar="N", help="0 to 9, 0 first; 1 unless set.")
]
_MaxAttempts = Annotated[
    str | None, typer.Option(parser=annotation_value(MAX_ATTEMPTS), metavar="N", help="1 to 20; 3 unless set.")
]
_Backoff = Annotated[
    str | None,
    typer.Option(
        parser=annotation_value(BACKOFF), metavar="D", help="Delay after the first attempt, such as 90s or 2m."
    ),
]
_Recipe = Annotated[
    str | None,
    typer.Option(
        metavar="R",
        help="Recipe to use. It cannot be changed later.",
        autocompletion=completion.completing(completion.recipes),
    ),
]


@app.command(
    rich_help_panel=_PANEL,
    epilog=examples("setup $id --wait", "setup $id --recipe python-service --param license=MIT --priority 0"),
)
def setup(
    project: _ToSetUp,
    *,
    recipe: _Recipe = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Parameter of the recipe; may be repeated.")
    ] = None,
    credentials_secret: Annotated[
        str | None,
        typer.Option(
            parser=secret_name, metavar="NAME", help="Secret with the credentials for the project's repositories."
        ),
    ] = None,
    attempt_timeout: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="D", help="Time limit of one attempt; 30m unless set."),
    ] = None,
    suspend: Annotated[
        bool | None, typer.Option("--suspend/--resume", help="Suspend the setup, or resume it.", show_default=False)
    ] = None,
    priority: _Priority = None,
    max_attempts: _MaxAttempts = None,
    backoff: _Backoff = None,
    namespace: Namespace = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the setup has ended; exit code 1 if it failed.")
    ] = False,
    timeout: Annotated[
        timedelta | None, typer.Option(parser=duration, metavar="D", help="Longest time to wait; requires --wait.")
    ] = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Set up a project: mark it as queued and apply its ProjectSetup.

    If an earlier setup failed or was cancelled, start a new series of attempts.

    If the setup is already in progress, change only the options that are given.
    """
    if timeout is not None and not wait:
        raise typer.BadParameter("requires --wait", param_hint="'--timeout'")
    given = {PRIORITY: priority, MAX_ATTEMPTS: max_attempts, BACKOFF: backoff}
    annotations = {name: value for name, value in given.items() if value is not None}
    recipe_parameters = parameters(param)

    from projectsetup.cli import setups
    from projectsetup.kube.connection import Kubeconfig

    request = setups.SetupRequest(
        recipe, recipe_parameters or None, annotations, credentials_secret, attempt_timeout, suspend
    )
    asyncio.run(setups.setup(Kubeconfig(kubeconfig, context), project, namespace, request, wait=wait, limit=timeout))


@app.command(rich_help_panel=_PANEL, epilog=examples("status --watch", "status $id", "status --all-namespaces -o json"))
def status(
    project: _ToShow = None,
    *,
    namespace: Namespace = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Look in all namespaces.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Keep showing changes; with an ID, until that setup has ended.")
    ] = False,
    output: Output = Format.TABLE,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Show the status of setups: all in a table, or one in detail."""
    if all_namespaces and namespace is not None:
        raise typer.BadParameter("cannot be combined with --namespace", param_hint="'--all-namespaces'")

    from projectsetup.cli.status import show_all, show_one
    from projectsetup.cli.watch import watch_all, watch_one
    from projectsetup.kube.connection import Kubeconfig

    source = Kubeconfig(kubeconfig, context)
    shown = None if all_namespaces else source.namespace(namespace)
    if project is None:
        asyncio.run((watch_all if watch else show_all)(source, shown, output))
    else:
        asyncio.run((watch_one if watch else show_one)(source, shown, project, output))


@app.command(
    rich_help_panel=_PANEL,
    epilog=examples("logs $id", "logs $id --follow", "logs $id --attempt 2 --step test --tail 50"),
)
def logs(
    project: _ToLog,
    *,
    attempt: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of the attempt; the latest if omitted.")
    ] = None,
    step: Annotated[str | None, typer.Option(metavar="S", help="Show only the output of this step.")] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Keep showing output until the setup has ended; exit code 1 if it failed."),
    ] = False,
    tail: Annotated[int | None, typer.Option(min=0, metavar="N", help="Show only the last N lines.")] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Begin each line with its time.")] = False,
    output: Annotated[
        LogFormat, typer.Option("--output", "-o", help="text for people, or json: one object for each line.")
    ] = LogFormat.TEXT,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Show what the steps of a setup printed.

    The output comes from the database that DATABASE_URL names; without it, from the pods, with your own rights.
    """
    if follow and tail is not None:
        raise typer.BadParameter("cannot be combined with --follow", param_hint="'--tail'")

    from projectsetup.cli.logs import Shown, show_logs
    from projectsetup.kube.connection import Kubeconfig

    shown = Shown(attempt, step, tail, timestamps, output)
    asyncio.run(show_logs(Kubeconfig(kubeconfig, context), project, namespace, shown, follow=follow))


@app.command(rich_help_panel=_PANEL, epilog=examples("history $id", "history $id -o json"))
def history(project: ProjectArgument, output: Output = Format.TABLE) -> None:
    """Show all finished attempts of a project, even of deleted ProjectSetups (DATABASE_URL)."""
    from projectsetup.cli.logs import show_history

    asyncio.run(show_history(project, output))


@app.command(rich_help_panel=_PANEL, epilog=examples("retry $id", 'retry "Order Service" -n team-a'))
def retry(
    project: _ToRetry,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Start a new series of attempts after a setup failed or was cancelled."""
    from projectsetup.cli import setups
    from projectsetup.kube.connection import Kubeconfig

    asyncio.run(setups.retry(Kubeconfig(kubeconfig, context), project, namespace))


@app.command(rich_help_panel=_PANEL, epilog=examples("cancel $id"))
def cancel(
    project: _ToCancel,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Cancel a setup that is queued or running."""
    from projectsetup.cli import setups
    from projectsetup.kube.connection import Kubeconfig

    asyncio.run(setups.cancel(Kubeconfig(kubeconfig, context), project, namespace))


@app.command(rich_help_panel=_PANEL, epilog=examples("dashboard --open", "dashboard --all-namespaces --allow-actions"))
def dashboard(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Port to listen on (127.0.0.1); 0 for any free port.")
    ] = 0,
    namespace: Namespace = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Show all namespaces, like `--namespace all`.")
    ] = False,
    allow_actions: Annotated[bool, typer.Option("--allow-actions", help="Add retry and cancel buttons.")] = False,
    browse: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = False,
    operator_namespace: _OperatorNamespace = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Show the setups in a web page on 127.0.0.1 until interrupted.

    Anyone who can log in to this machine can open the page, and can see and do there what you can.
    """
    if all_namespaces and namespace not in {None, _ALL}:
        raise typer.BadParameter("cannot be combined with --namespace", param_hint="'--all-namespaces'")

    from projectsetup.cli.dashboard import serve
    from projectsetup.kube.connection import Kubeconfig

    source = Kubeconfig(kubeconfig, context)
    shown = None if all_namespaces or namespace == _ALL else source.namespace(namespace)
    of_queue = source.operator_namespace(operator_namespace)
    asyncio.run(serve(source, shown, of_queue, port=port, allow_actions=allow_actions, browse=browse))
