"""The commands `queue …`."""

from __future__ import annotations

from typing import Annotated

import typer

from projectsetup.cli.options import Context, KubeconfigFile, OperatorNamespace, Output, examples
from projectsetup.cli.output import Format, write

app = typer.Typer(
    name="queue", no_args_is_help=True, rich_help_panel="Operator", help="Show, pause, resume and scale the queue."
)


@app.command(epilog=examples("queue show", "queue show -o name"))
def show(
    operator_namespace: OperatorNamespace = None,
    output: Output = Format.TABLE,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Show what is running and waiting, what starts next, and how many attempts may run at once."""
    from projectsetup.cli.context import run
    from projectsetup.cli.queue import show_queue
    from projectsetup.kube.connection import Kubeconfig

    run(show_queue(Kubeconfig(kubeconfig, context), operator_namespace, output))


@app.command()
def pause(
    operator_namespace: OperatorNamespace = None, context: Context = None, kubeconfig: KubeconfigFile = None
) -> None:
    """Start no new attempts. Running attempts continue."""
    _change((kubeconfig, context), operator_namespace, "paused", "true")
    write("queue paused: no new attempts start, running attempts continue")


@app.command()
def resume(
    operator_namespace: OperatorNamespace = None, context: Context = None, kubeconfig: KubeconfigFile = None
) -> None:
    """Start queued setups again."""
    _change((kubeconfig, context), operator_namespace, "paused", "false")
    write("queue resumed")


@app.command(epilog=examples("queue scale 8"))
def scale(
    number: Annotated[str, typer.Argument(metavar="N", help="Number of attempts; with 0, no new ones start.")],
    operator_namespace: OperatorNamespace = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Set how many attempts may run at once."""
    _change((kubeconfig, context), operator_namespace, "concurrency", number)
    write(f"at most {number} attempts run at once")


def _change(source: tuple[str | None, str | None], operator_namespace: str | None, key: str, value: str) -> None:
    from projectsetup.cli.context import run
    from projectsetup.cli.queue import change_queue
    from projectsetup.kube.connection import Kubeconfig

    run(change_queue(Kubeconfig(*source), operator_namespace, key, value))
