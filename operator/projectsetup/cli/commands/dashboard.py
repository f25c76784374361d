"""The command `dashboard`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from projectsetup.cli import completion, options
from projectsetup.cli.options import Context, KubeconfigFile, Namespace, examples

app = typer.Typer()
ALL: Final = "all"


@app.command(
    rich_help_panel="Setups", epilog=examples("dashboard --open", "dashboard --all-namespaces --allow-actions")
)
def dashboard(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Port to listen on at 127.0.0.1; 0 for any free port.")
    ] = 0,
    namespace: Namespace = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Show all namespaces, the same as `--namespace all`.")
    ] = False,
    allow_actions: Annotated[bool, typer.Option("--allow-actions", help="Add buttons to retry and to cancel.")] = False,
    browse: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = False,
    operator_namespace: Annotated[
        str | None,
        typer.Option(
            parser=options.namespace,
            metavar="NS",
            envvar="PROJECTSETUP_OPERATOR_NAMESPACE",
            help="Namespace the operator runs in; `default` if omitted.",
            autocompletion=completion.completing(completion.namespaces),
        ),
    ] = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Serve a web page with the setups on this machine until interrupted.

    Anyone who can log in to this machine can open the page, and can see and do there what you can.
    """
    if all_namespaces and namespace not in {None, ALL}:
        raise typer.BadParameter("cannot be combined with --namespace", param_hint="'--all-namespaces'")

    from projectsetup.cli.context import current_namespace, run
    from projectsetup.cli.context import operator_namespace as namespace_of_operator
    from projectsetup.cli.dashboard import serve
    from projectsetup.kube.connection import Kubeconfig

    source = Kubeconfig(kubeconfig, context)
    shown = None if all_namespaces or namespace == ALL else current_namespace(namespace, source)
    of_queue = namespace_of_operator(operator_namespace, source)
    run(serve(source, shown, of_queue, port=port, allow_actions=allow_actions, browse=browse))
