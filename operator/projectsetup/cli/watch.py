"""What `status --watch` shows: redrawn on a terminal, elsewhere a line or a document for each change."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from projectsetup.api.models import ProjectSetupResource, parse_resource
from projectsetup.cli.errors import CommandError, ExitCode
from projectsetup.cli.names import ProjectRef, find_setup
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
from projectsetup.cli.status import (
    detail,
    ended,
    live_overview,
    looks_the_same,
    named,
    overview,
    summary,
    without_managed_fields,
)
from projectsetup.kube.client import Body
from projectsetup.kube.connection import Kubeconfig
from projectsetup.kube.informer import Change, ObjectKey
from projectsetup.kube.setups import SetupClient


@dataclass(frozen=True)
class Observed:
    """A ProjectSetup at one moment, parsed when first needed."""

    body: Body

    @cached_property
    def resource(self) -> ProjectSetupResource:
        """The parsed object."""
        return parse_resource(self.body)


Found = Mapping[ObjectKey, Observed]
Changes = Sequence[Change[Observed]]
Present = Callable[[Found, Changes], None]


async def watch_all(kubeconfig: Kubeconfig, namespace: str | None, output: Format) -> None:
    """Show the ProjectSetups of one namespace, or of all, until interrupted."""
    async with SetupClient.connected(kubeconfig) as setups:
        await setups.list(namespace)
        with presented(Table(with_namespace=namespace is None), output) as present:

            def on_change(found: Found, changes: Changes) -> bool:
                present(found, changes)
                return False

            await setups.follow(namespace, None, keep=Observed, on_change=on_change, on_outage=_say_outage)


async def watch_one(kubeconfig: Kubeconfig, namespace: str | None, project: ProjectRef, output: Format) -> None:
    """Show the ProjectSetup of a project until its setup ends; SetupNotFound, CommandError."""
    async with SetupClient.connected(kubeconfig) as setups:
        key = await find_setup(setups, project, namespace)
        await setups.get(*key)
        view = Detail(key)
        with presented(view, output) as present:

            def on_change(found: Found, changes: Changes) -> bool:
                is_last = view.has_ended(found)
                present(found, changes)
                return is_last

            await setups.follow(*key, keep=Observed, on_change=on_change, on_outage=_say_outage)


def _say_outage(reason: str) -> None:
    say(one_line(f"waiting for the API server ({reason})"))


class View(Protocol):
    """How ProjectSetups look."""

    def draw(self, found: Found) -> Text:
        """All of them, as they are now."""
        ...

    def lines(self, found: Found, changed: Collection[ObjectKey], *, first: bool) -> Text:
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

    def lines(self, found: Found, changed: Collection[ObjectKey], *, first: bool) -> Text:
        """The whole table first, then the rows that changed."""
        resources = (observed.resource for observed in found.values())
        only = None if first else changed
        return overview(resources, datetime.now(UTC), with_namespace=self.with_namespace, only=only)


@dataclass(frozen=True, slots=True)
class Detail:
    """One ProjectSetup."""

    key: ObjectKey

    def draw(self, found: Found) -> Text:
        """All its fields."""
        return detail(found[self.key].resource, datetime.now(UTC), bar=True)

    def lines(self, found: Found, _changed: Collection[ObjectKey], *, first: bool) -> Text:  # noqa: ARG002
        """One line; all its fields when it has ended."""
        if self.has_ended(found):
            return self.draw(found)
        resource = found[self.key].resource
        return Text(printable(named(resource, summary(resource, datetime.now(UTC)))))

    def has_ended(self, found: Found) -> bool:
        """Whether the setup has ended; CommandError if it was deleted."""
        if self.key not in found:
            raise CommandError("ProjectSetup {}/{} was deleted".format(*self.key), ExitCode.FAILED)
        return ended(found[self.key].resource) is not None


@contextmanager
def presented(view: View, output: Format) -> Iterator[Present]:
    """A function to call with all watched ProjectSetups and what changed."""
    if output is not Format.TABLE:
        yield _documents(output)
    elif not is_terminal(sys.stdout):
        yield _lines(view)
    else:
        latest: Found | None = None

        def draw() -> Text:  # called by rich's thread
            return Text() if latest is None else view.draw(latest)

        def present(found: Found, _changes: Changes) -> None:
            nonlocal latest
            latest = dict(found)

        with Live(get_renderable=draw, console=Console(highlight=False), refresh_per_second=2):
            yield present


def _documents(output: Format) -> Present:
    def present(_found: Found, changes: Changes) -> None:
        for change in changes:
            if change.after is not None:
                if output is Format.YAML:
                    write("---")
                write_data(without_managed_fields(change.after.body), output, names=[full_name(change.key[1])])

    return present


def _lines(view: View) -> Present:
    first = True

    def present(found: Found, changes: Changes) -> None:
        nonlocal first
        if changed := [change.key for change in changes if looks_different(change)]:
            write_text(view.lines(found, changed, first=first))
            first = False

    return present


def looks_different(change: Change[Observed]) -> bool:
    """Whether the ProjectSetup exists and its row is new or changed in more than the age."""
    if change.before is None or change.after is None:
        return change.after is not None
    return not looks_the_same(change.before.resource, change.after.resource)
