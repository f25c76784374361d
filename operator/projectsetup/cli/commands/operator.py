"""The commands `operator`, `migrate`, `crd` and `queue …`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import typer

from projectsetup.cli.options import Context, KubeconfigFile, OperatorNamespace, Output, examples
from projectsetup.cli.output import Format, say, write

app = typer.Typer()
_PANEL: Final = "Operator"
queue = typer.Typer(
    name="queue", no_args_is_help=True, rich_help_panel=_PANEL, help="Show, pause, resume and scale the queue."
)


@app.command(rich_help_panel=_PANEL)
def operator() -> None:
    """Run the operator until it is stopped. Environment variables configure it."""
    from projectsetup.observe.logs import configure_logging
    from projectsetup.settings import load_settings
    from projectsetup.setup.environment import secrets_in
    from projectsetup.setup.scrub import Scrubber

    settings = load_settings()
    scrub = Scrubber(secrets_in({"DATABASE_URL": settings.database_url.get_secret_value()})).scrub
    configure_logging(settings.log_format, scrub=scrub)

    from projectsetup.bootstrap import run_operator

    raise typer.Exit(asyncio.run(run_operator(settings, scrub)))


@app.command(rich_help_panel=_PANEL)
def migrate() -> None:
    """Bring the tables in the database (DATABASE_URL) up to date. Safe to run again."""
    from projectsetup.projects.address import DatabaseAddress
    from projectsetup.projects.migrate import migrate as apply_versions

    address = DatabaseAddress.from_environment()
    if address.warning is not None:
        say(f"warning: {address.warning}")
    applied = apply_versions(address)
    write("\n".join(f"applied {version}" for version in applied) or "the database is up to date")


@app.command(rich_help_panel=_PANEL, epilog=examples("crd | kubectl apply -f -"))
def crd() -> None:
    """Print the CustomResourceDefinition, for kubectl apply."""
    from projectsetup.api.crd import render_crd

    write(render_crd())


@queue.command(epilog=examples("queue show", "queue show -o name"))
def show(
    operator_namespace: OperatorNamespace = None,
    output: Output = Format.TABLE,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Show what is running and waiting, what starts next, and how many attempts may run at once."""
    from projectsetup.cli.queue import show_queue
    from projectsetup.kube.connection import Kubeconfig

    asyncio.run(show_queue(Kubeconfig(kubeconfig, context), operator_namespace, output))


@queue.command()
def pause(
    operator_namespace: OperatorNamespace = None, context: Context = None, kubeconfig: KubeconfigFile = None
) -> None:
    """Start no new attempts. Running attempts continue."""
    _change((kubeconfig, context), operator_namespace, "paused", "true")
    write("queue paused: no new attempts start, running attempts continue")


@queue.command()
def resume(
    operator_namespace: OperatorNamespace = None, context: Context = None, kubeconfig: KubeconfigFile = None
) -> None:
    """Start queued setups again."""
    _change((kubeconfig, context), operator_namespace, "paused", "false")
    write("queue resumed")


@queue.command(epilog=examples("queue scale 8"))
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
    from projectsetup.cli.queue import change_queue
    from projectsetup.kube.connection import Kubeconfig

    asyncio.run(change_queue(Kubeconfig(*source), operator_namespace, key, value))
