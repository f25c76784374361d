"""Showing what changes: drawn anew on a terminal, printed at each change elsewhere, or one document a change."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from projectsetup.api.models import parse_resource
from projectsetup.cli.following import Found, Key
from projectsetup.cli.output import Format, write, write_text, write_value
from projectsetup.cli.status_view import looks_the_same, presentable
from projectsetup.cluster.client import Body

Present = Callable[[Found], None]


class View(Protocol):
    """How ProjectSetups look."""

    def draw(self, found: Found) -> Text:
        """All of them, as they are now."""
        ...

    def changes(self, found: Found, changed: Collection[Key], *, first: bool) -> Text:
        """What is to be told about those that changed; `first`: nothing was told before."""
        ...


@contextmanager
def presented(view: View, output: Format) -> Iterator[Present]:
    """Takes all ProjectSetups that are watched whenever one of them has changed."""
    if output is not Format.TABLE:
        yield _documents(output)
    elif not sys.stdout.isatty():
        yield _lines(view)
    else:
        found: Found = {}
        with Live(
            get_renderable=lambda: view.draw(found) if found else Text(), console=Console(highlight=False)
        ) as live:

            def draw(now_found: Found) -> None:
                nonlocal found
                found = dict(now_found)
                live.refresh()

            yield draw


def _documents(output: Format) -> Present:
    log = ChangeLog(lambda one, other: one["metadata"]["resourceVersion"] == other["metadata"]["resourceVersion"])

    def present(found: Found) -> None:
        for key in log.changed(found):
            if output is Format.YAML:
                write("---")
            write_value(presentable(found[key]), output)

    return present


def _lines(view: View) -> Present:
    log = ChangeLog(lambda one, other: looks_the_same(parse_resource(one), parse_resource(other)))

    def present(found: Found) -> None:
        first = not log.seen
        if changed := log.changed(found):
            write_text(view.changes(found, changed, first=first))

    return present


class ChangeLog:
    """Remembers what was shown; `same` tells whether two states of a ProjectSetup look the same."""

    def __init__(self, same: Callable[[Body, Body], bool]) -> None:
        self.seen: dict[Key, Body] = {}
        self._same = same

    def changed(self, found: Found) -> list[Key]:
        """The keys of those that are new or look different; from now on they count as shown."""
        changed = [key for key, body in found.items() if key not in self.seen or not self._same(self.seen[key], body)]
        self.seen = dict(found)
        return changed
