"""What `status --watch` shows: redrawn on a terminal, elsewhere a line or a document for each change."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from projectsetup.cli.context import cluster
from projectsetup.cli.errors import CommandError, ExitCode
from projectsetup.cli.following import Follower, Found, Key, Observed
from projectsetup.cli.output import (
    Format,
    full_name,
    is_terminal,
    one_line,
    printable,
    say,
    write,
    write_data,
    write_text,
)
from projectsetup.cli.progress import ended, summary
from projectsetup.cli.status import detail, live_overview, looks_the_same, overview, without_managed_fields
from projectsetup.kube.connection import Kubeconfig


async def watch_all(kubeconfig: Kubeconfig, namespace: str | None, output: Format) -> None:
    """Show the ProjectSetups of one namespace, or of all, until interrupted."""
    async with cluster(kubeconfig) as setups:
        await setups.list(namespace)
        with presented(Table(with_namespace=namespace is None), output) as present:

            def on_change(found: Found) -> bool:
                present(found)
                return False

            await Follower(setups, namespace, None, on_outage=_say_outage).run(on_change)


async def watch_one(kubeconfig: Kubeconfig, namespace: str, name: str, output: Format) -> None:
    """Show one ProjectSetup until its setup ends; NoSuchSetup."""
    view = Detail((namespace, name))
    async with cluster(kubeconfig) as setups:
        await setups.get(namespace, name)
        with presented(view, output) as present:

            def on_change(found: Found) -> bool:
                is_last = view.has_ended(found)
                present(found)
                return is_last

            await Follower(setups, namespace, name, on_outage=_say_outage).run(on_change)


def _say_outage(reason: str) -> None:
    say(one_line(f"waiting for the API server ({reason})"))


class View(Protocol):
    """How ProjectSetups look."""

    def draw(self, found: Found) -> Text:
        """All of them, as they are now."""
        ...

    def changes(self, found: Found, changed: Collection[Key], *, first: bool) -> Text:
        """Lines about those that changed; `first` if no lines were printed before."""
        ...


@dataclass(frozen=True, slots=True)
class Table:
    """All ProjectSetups, a row each."""

    with_namespace: bool

    def draw(self, found: Found) -> Text:
        """The rows that fit on the terminal."""
        resources = (observed.resource for observed in found.values())
        height = shutil.get_terminal_size().lines
        return live_overview(resources, datetime.now(UTC), with_namespace=self.with_namespace, height=height)

    def changes(self, found: Found, changed: Collection[Key], *, first: bool) -> Text:
        """The whole table first, then the rows that changed."""
        resources = (observed.resource for observed in found.values())
        only = None if first else changed
        return overview(resources, datetime.now(UTC), with_namespace=self.with_namespace, only=only)


@dataclass(frozen=True, slots=True)
class Detail:
    """One ProjectSetup."""

    key: Key

    def draw(self, found: Found) -> Text:
        """All its fields."""
        return detail(found[self.key].resource, datetime.now(UTC), bar=True)

    def changes(self, found: Found, _changed: Collection[Key], *, first: bool) -> Text:  # noqa: ARG002
        """One line; all its fields when it has ended."""
        if self.has_ended(found):
            return self.draw(found)
        return Text(printable(summary(found[self.key].resource, datetime.now(UTC))))

    def has_ended(self, found: Found) -> bool:
        """Whether the setup has ended; CommandError if it was deleted."""
        if self.key not in found:
            raise CommandError("ProjectSetup {}/{} was deleted".format(*self.key), ExitCode.FAILED)
        return ended(found[self.key].resource) is not None


Present = Callable[[Found], None]


@contextmanager
def presented(view: View, output: Format) -> Iterator[Present]:
    """A function to call with all watched ProjectSetups each time one has changed."""
    if output is not Format.TABLE:
        yield _documents(output)
    elif not is_terminal(sys.stdout):
        yield _lines(view)
    else:
        latest: Found | None = None

        def draw() -> Text:  # called by rich's thread
            return Text() if latest is None else view.draw(latest)

        def present(found: Found) -> None:
            nonlocal latest
            latest = dict(found)

        with Live(get_renderable=draw, console=Console(highlight=False), refresh_per_second=2):
            yield present


def _documents(output: Format) -> Present:
    log = ChangeLog(lambda one, other: one.resource.resource_version == other.resource.resource_version)

    def present(found: Found) -> None:
        for key in log.changed(found):
            if output is Format.YAML:
                write("---")
            write_data(without_managed_fields(found[key].body), output, names=[full_name(key[1])])

    return present


def _lines(view: View) -> Present:
    log = ChangeLog(lambda one, other: looks_the_same(one.resource, other.resource))

    def present(found: Found) -> None:
        first = not log.seen
        if changed := log.changed(found):
            write_text(view.changes(found, changed, first=first))

    return present


class ChangeLog:
    """Remembers what was printed; `same` says whether two states of a ProjectSetup look the same."""

    def __init__(self, same: Callable[[Observed, Observed], bool]) -> None:
        self.seen: dict[Key, Observed] = {}
        self._same = same

    def changed(self, found: Found) -> list[Key]:
        """The keys of those that are new or look different since the last call."""
        changed = [key for key, observed in found.items() if self._has_changed(key, observed)]
        self.seen = dict(found)
        return changed

    def _has_changed(self, key: Key, observed: Observed) -> bool:
        before = self.seen.get(key)
        return before is None or (before is not observed and not self._same(before, observed))
