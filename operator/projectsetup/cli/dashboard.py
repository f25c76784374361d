"""The command `dashboard`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from projectsetup.cli import completion, options
from projectsetup.cli.options import Context, KubeconfigFile, Namespace

ALL: Final = "all"


def dashboard(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Port of 127.0.0.1 to listen at; 0: one that is free.")
    ] = 0,
    namespace: Namespace = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Those of all namespaces, as `--namespace all`.")
    ] = False,
    allow_actions: Annotated[
        bool, typer.Option("--allow-actions", help="With buttons to retry and to cancel; else it only shows.")
    ] = False,
    browse: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = False,
    operator_namespace: Annotated[
        str | None,
        typer.Option(
            parser=options.namespace,
            metavar="NS",
            envvar="PROJECTSETUP_OPERATOR_NAMESPACE",
            help="Namespace that the operator runs in; without it, `default`.",
            autocompletion=completion.silently(completion.namespaces),
        ),
    ] = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Show the setups on a web page of this machine, until interrupted.

    Who can log in to this machine can open the page, and then sees and may do there what you may.
    """
    if all_namespaces and namespace not in {None, ALL}:
        raise typer.BadParameter("names no namespace, so it goes without --namespace", param_hint="'--all-namespaces'")

    from projectsetup.cli import running
    from projectsetup.cli.browsing import serve
    from projectsetup.kube.connection import Kubeconfig

    source = Kubeconfig(kubeconfig, context)
    place = None if all_namespaces or namespace == ALL else running.current_namespace(namespace, source)
    queue_place = running.operator_namespace(operator_namespace, source)
    running.run(serve(source, place, queue_place, port=port, allow_actions=allow_actions, browse=browse))
