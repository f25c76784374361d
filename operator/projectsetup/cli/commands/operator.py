"""The commands `operator`, `migrate`, `crd` and `queue …`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import typer

from projectsetup.cli import completion
from projectsetup.cli.options import Context, KubeconfigFile, OperatorNamespace, Output, examples, recipe_name
from projectsetup.cli.output import Format, say, write

Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME",
        parser=recipe_name,
        help="Only setups with this recipe.",
        autocompletion=completion.completing(completion.recipes),
    ),
]

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
    """Create or update the tables in the database (DATABASE_URL). Safe to run again."""
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


@queue.command(epilog=examples("queue pause", "queue pause --recipe node-service"))
def pause(
    recipe: Recipe = None,
    operator_namespace: OperatorNamespace = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Pause the queue, or one recipe: no new attempts start, running ones continue."""
    from projectsetup.cli.queue_changes import pause_recipe
    from projectsetup.kube.connection import Kubeconfig
    from projectsetup.kube.queue_config import PAUSED

    if recipe is None:
        _change((kubeconfig, context), operator_namespace, PAUSED, "true")
        write("queue paused: no new attempts start, running attempts continue")
    else:
        asyncio.run(pause_recipe(Kubeconfig(kubeconfig, context), operator_namespace, recipe))
        write(f"recipe {recipe} paused: none of its attempts start, running attempts continue")


@queue.command(epilog=examples("queue resume", "queue resume --recipe node-service"))
def resume(
    recipe: Recipe = None,
    operator_namespace: OperatorNamespace = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Resume the queue, or one recipe."""
    from projectsetup.cli.queue_changes import resume_recipe
    from projectsetup.kube.connection import Kubeconfig
    from projectsetup.kube.queue_config import PAUSED

    if recipe is None:
        _change((kubeconfig, context), operator_namespace, PAUSED, "false")
        write("queue resumed")
    elif asyncio.run(resume_recipe(Kubeconfig(kubeconfig, context), operator_namespace, recipe)):
        write(f"recipe {recipe} resumed")
    else:
        write(f"recipe {recipe} was not paused")


@queue.command(
    epilog=examples(
        "queue scale 8",
        "queue scale 2 --recipe node-service",
        "queue scale 3 --per-namespace",
        "queue scale none --per-namespace",
    )
)
def scale(
    number: Annotated[
        str,
        typer.Argument(metavar="N", help="Number of attempts; with 0, no new ones start; `none` removes the limit."),
    ],
    *,
    recipe: Recipe = None,
    per_namespace: Annotated[
        bool, typer.Option("--per-namespace", help="Limit each namespace instead of the total.")
    ] = False,
    operator_namespace: OperatorNamespace = None,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Set how many attempts may run at once: in total, of one recipe, or in each namespace."""
    from projectsetup.cli.queue_changes import limit_recipe
    from projectsetup.kube.connection import Kubeconfig
    from projectsetup.kube.queue_config import CONCURRENCY, PER_NAMESPACE

    if recipe is not None and per_namespace:
        raise typer.BadParameter("--recipe and --per-namespace exclude each other")
    value = "" if number == "none" else number
    if recipe is not None:
        asyncio.run(limit_recipe(Kubeconfig(kubeconfig, context), operator_namespace, recipe, value))
        whose = f" with recipe {recipe}"
    else:
        _change((kubeconfig, context), operator_namespace, PER_NAMESPACE if per_namespace else CONCURRENCY, value)
        whose = " of each namespace" if per_namespace else ""
    if value:
        write(
            f"at most 1 attempt{whose} runs at once"
            if number == "1"
            else f"at most {number} attempts{whose} run at once"
        )
    elif whose:
        write(f"attempts{whose} have no limit of their own")
    else:
        write("as many attempts run at once as the operator is set to")


def _change(source: tuple[str | None, str | None], operator_namespace: str | None, key: str, value: str) -> None:
    from projectsetup.cli.queue_changes import change_queue
    from projectsetup.kube.connection import Kubeconfig

    asyncio.run(change_queue(Kubeconfig(*source), operator_namespace, key, value))
