"""The commands `queue …`."""

from __future__ import annotations

from typing import Annotated

import typer

from projectsetup.cli.options import OperatorNamespace, Output
from projectsetup.cli.output import Format, write

queue = typer.Typer(no_args_is_help=True, help="Pause, resume and scale what the operator starts.")


@queue.command()
def show(operator_namespace: OperatorNamespace = None, output: Output = Format.TABLE) -> None:
    """Show whether the queue is paused, and how many attempts may run at once."""
    from projectsetup.cli.queue_control import show_queue
    from projectsetup.cli.running import run

    run(show_queue(operator_namespace, output))


@queue.command()
def pause(operator_namespace: OperatorNamespace = None) -> None:
    """Start nothing new. What runs goes on."""
    _change(operator_namespace, "paused", "true")
    write("the queue is paused: nothing new is started, what runs goes on")


@queue.command()
def resume(operator_namespace: OperatorNamespace = None) -> None:
    """Start what is queued again."""
    _change(operator_namespace, "paused", "false")
    write("the queue is resumed")


@queue.command()
def scale(
    number: Annotated[str, typer.Argument(metavar="N", help="Attempts that may run at once; 0 starts nothing new.")],
    operator_namespace: OperatorNamespace = None,
) -> None:
    """Set how many attempts may run at once."""
    _change(operator_namespace, "concurrency", number)
    write(f"at most {number} attempts run at once")


def _change(operator_namespace: str | None, key: str, value: str) -> None:
    from projectsetup.cli.queue_control import change_queue
    from projectsetup.cli.running import run

    run(change_queue(operator_namespace, key, value))
