"""The name of the Python distribution, as a filter for the template."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2.ext import Extension

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = Path(__file__).parent / "template"
_LOCK = TEMPLATE / "workspace" / "code" / "requirements-dev.lock"


def distribution_name(slug: str) -> str:
    """The slug, with a suffix if a dependency has that name: the service would replace it."""
    taken = set(re.findall(r"^([a-z0-9.-]+)==", _LOCK.read_text(), re.MULTILINE))
    return f"{slug}-service" if slug in taken else slug


class Distribution(Extension):
    """Registers the filter."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.filters[distribution_name.__name__] = distribution_name
