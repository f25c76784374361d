"""Logging with structlog, for people on a console and as JSON for machines.

Every line about a setup has the keys `namespace` and `project`, and `attempt` and `step` where they apply.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Final, Literal

import structlog

LogFormat = Literal["console", "json"]
Line = MutableMapping[str, Any]

OF_A_SETUP: Final = frozenset({"namespace", "project", "attempt", "step"})
NOT_A_TEXT: Final = OF_A_SETUP | {"timestamp", "level", "logger"}
"""Keys whose values never hold text from outside the operator, and so no secrets."""


def get_logger(name: str) -> Any:
    """The logger for one part of the operator."""
    return structlog.stdlib.get_logger(f"projectsetup.{name}")


def about_setup(key: tuple[str, str], **more: object) -> AbstractContextManager[None]:
    """Bind the ProjectSetup with this namespace and name to every line logged within, also by tasks started there."""
    given = {name: value for name, value in more.items() if value}
    return structlog.contextvars.bound_contextvars(namespace=key[0], project=key[1], **given)


def configure_logging(log_format: LogFormat, *, scrub: Callable[[str], str]) -> None:
    """Send all log lines, including those of libraries, to standard error in one format.

    `scrub` removes secrets from a text.
    """

    def scrubbed(_logger: object, _method: str, line: Line) -> Line:
        texts = ((name, value) for name, value in line.items() if isinstance(value, str) and name not in NOT_A_TEXT)
        return {**line, **{name: scrub(value) for name, value in texts}}

    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        scrubbed,
    ]
    renderer: structlog.types.Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(OF_A_SETUP), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("kopf", "aiohttp.access", "asyncio", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("kopf._core.reactor.running").setLevel(
        logging.ERROR
    )  # it warns that it cannot handle signals; we do
