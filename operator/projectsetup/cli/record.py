"""The project record that the environment names."""

from __future__ import annotations

import os

from projectsetup.cli.errors import CommandError


def database_url() -> str:
    """The value of DATABASE_URL; CommandError when there is none."""
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        from projectsetup.projects.address import EXAMPLE

        raise CommandError(f"DATABASE_URL is not set: it must look like {EXAMPLE}")
    return url
