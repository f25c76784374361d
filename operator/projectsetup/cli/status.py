"""The command `status`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from projectsetup.cli import completion, options
from projectsetup.cli.options import Context, KubeconfigFile, Namespace, Output
from projectsetup.cli.output import Format


def status(
    project_id: Annotated[
        UUID | None,
        options.project_argument(completion.setups_but(), help="Id of one project; without it, all are shown."),
    ] = None,
    *,
    namespace: Namespace = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Those of all namespaces, not of one.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on showing changes; for one project, until its setup is over.")
    ] = False,
    output: Output = Format.TABLE,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Show how setups get on: all in a table, or one in detail."""
    if all_namespaces and project_id is not None:
        raise typer.BadParameter("shows all setups, so it takes no ID", param_hint="'--all-namespaces'")
    if all_namespaces and namespace is not None:
        raise typer.BadParameter("names no namespace, so it goes without --namespace", param_hint="'--all-namespaces'")

    from projectsetup.cli.running import current_namespace, run
    from projectsetup.cli.showing import show_all, show_one
    from projectsetup.cli.watching import watch_all, watch_one
    from projectsetup.kube.connection import Kubeconfig

    source = Kubeconfig(kubeconfig, context)
    place = None if all_namespaces else current_namespace(namespace, source)
    if project_id is None or place is None:
        run((watch_all if watch else show_all)(source, place, output))
    else:
        run((watch_one if watch else show_one)(source, place, str(project_id), output))
