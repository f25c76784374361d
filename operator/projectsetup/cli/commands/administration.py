"""The commands `operator`, `migrate` and `crd`."""

from __future__ import annotations

from typing import Final

import typer

from projectsetup.cli.options import examples
from projectsetup.cli.output import say, write

app = typer.Typer()
_PANEL: Final = "Operator"


@app.command(rich_help_panel=_PANEL)
def operator() -> None:
    """Run the operator until it is stopped. Environment variables configure it."""
    import asyncio

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
    from projectsetup.cli.context import database_url
    from projectsetup.projects.address import DatabaseAddress
    from projectsetup.projects.migrate import migrate as apply_versions

    address = DatabaseAddress.parse(database_url())
    if address.warning is not None:
        say(f"warning: {address.warning}")
    applied = apply_versions(address)
    write("\n".join(f"applied {version}" for version in applied) or "the database is up to date")


@app.command(rich_help_panel=_PANEL, epilog=examples("crd | kubectl apply -f -"))
def crd() -> None:
    """Print the CustomResourceDefinition, for kubectl apply."""
    from projectsetup.api.crd import render_crd

    write(render_crd())
