"""The commands `queue …`."""

from __future__ import annotations

from typing import Annotated

import typer

from projectsetup.cli.options import Context, KubeconfigFile, OperatorNamespace, Output
from projectsetup.cli.output import Format, write

queue = typer.Typer(
    no_args_is_help=True, help="Who runs and who is next; pause, resume and scale what the operator starts."
)


@queue.command()
def show(
    operator_namespace: OperatorNamespace = None,
    output: Output = Format.TABLE,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Show who runs, who waits and who is next; whether the queue is paused; how many may run at once."""
    from projectsetup.cli.queue_control import show_queue
    from projectsetup.cli.running import run
    from projectsetup.kube.connection import Kubeconfig

    run(show_queue(Kubeconfig(kubeconfig, context), operator_namespace, output))


@queue.command()
def pause(
    operator_namespace: OperatorNamespace = None, context: Context = None, kubeconfig: KubeconfigFile = None
) -> None:
    """Start nothing new. What runs goes on."""
    _change((kubeconfig, context), operator_namespace, "paused", "true")
    write("the queue is paused: nothing new is started, what runs goes on")


@queue.command()
def resume(
    operator_namespace: OperatorNamespace = None, context: Context = None, kubeconfig: KubeconfigFile = None
) -> None:
    """Start what is queued again."""
    _change((kubeconfig, context), operator_namespace, "paused", "false")
    write("the queue is resumed")


@queue.command()
def scale(
    number: Annotated[str, typer.Argument(metavar="N", help="Attempts that may run at once; 0 starts nothing new.")],
    operator_namespace: OperatorNamespace = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Set how many attempts may run at once."""
    _change((kubeconfig, context), operator_namespace, "concurrency", number)
    write(f"at most {number} attempts run at once")


def _change(source: tuple[str | None, str | None], operator_namespace: str | None, key: str, value: str) -> None:
    from projectsetup.cli.queue_control import change_queue
    from projectsetup.cli.running import run
    from projectsetup.kube.connection import Kubeconfig

    run(change_queue(Kubeconfig(*source), operator_namespace, key, value))
