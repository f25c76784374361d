"""Showing what changes: drawn anew on a terminal, printed at each change elsewhere, or one document a change."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from projectsetup.cli.following import Found, Key, Observed
from projectsetup.cli.output import Format, is_screen, write, write_data, write_text
from projectsetup.cli.status_view import full_name, looks_the_same, presentable

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
    elif not is_screen(sys.stdout):
        yield _lines(view)
    else:
        screen = Screen(view)
        with Live(get_renderable=screen.draw, console=Console(highlight=False), refresh_per_second=2):
            yield screen.show


class Screen:
    """What is drawn anew, by another thread, as long as it is watched."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._found: Found | None = None

    def show(self, found: Found) -> None:
        """From now on draw this."""
        self._found = dict(found)

    def draw(self) -> Text:
        """What is to be seen now."""
        return Text() if self._found is None else self._view.draw(self._found)


def _documents(output: Format) -> Present:
    log = ChangeLog(lambda one, other: one.resource.resource_version == other.resource.resource_version)

    def present(found: Found) -> None:
        for key in log.changed(found):
            if output is Format.YAML:
                write("---")
            write_data(presentable(found[key].body), output, names=[full_name(key[1])])

    return present


def _lines(view: View) -> Present:
    log = ChangeLog(lambda one, other: looks_the_same(one.resource, other.resource))

    def present(found: Found) -> None:
        first = not log.seen
        if changed := log.changed(found):
            write_text(view.changes(found, changed, first=first))

    return present


class ChangeLog:
    """Remembers what was shown; `same` tells whether two states of a ProjectSetup look the same."""

    def __init__(self, same: Callable[[Observed, Observed], bool]) -> None:
        self.seen: dict[Key, Observed] = {}
        self._same = same

    def changed(self, found: Found) -> list[Key]:
        """The keys of those that are new or look different; from now on they count as shown."""
        changed = [key for key, observed in found.items() if self._is_news(key, observed)]
        self.seen = dict(found)
        return changed

    def _is_news(self, key: Key, observed: Observed) -> bool:
        before = self.seen.get(key)
        return before is None or (before is not observed and not self._same(before, observed))
