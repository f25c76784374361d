"""The commands `operator`, `migrate` and `crd`."""

from __future__ import annotations

import typer

from projectsetup.cli.output import say, write


def operator() -> None:
    """Run the operator until it is told to stop; its settings are environment variables."""
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


def migrate() -> None:
    """Bring the tables of the database (DATABASE_URL) up to date. Safe to call again."""
    from projectsetup.cli.record import database_url
    from projectsetup.projects.address import DatabaseAddress
    from projectsetup.projects.migrate import migrate as apply_versions

    address = DatabaseAddress.parse(database_url())
    if address.warning is not None:
        say(f"warning: {address.warning}")
    applied = apply_versions(address)
    write("\n".join(f"applied {version}" for version in applied) or "the database is up to date")


def crd() -> None:
    """Print the CustomResourceDefinition, to be given to kubectl apply -f -."""
    from projectsetup.api.crd import render_crd

    write(render_crd())
