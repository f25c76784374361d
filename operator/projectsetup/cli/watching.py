"""Carrying out `status --watch`."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from datetime import UTC, datetime

from rich.text import Text

from projectsetup.cli.errors import CommandError, ExitCode
from projectsetup.cli.following import Follower, Found, Key
from projectsetup.cli.lines import one_line, printable
from projectsetup.cli.output import Format, say
from projectsetup.cli.presenting import presented
from projectsetup.cli.progress import ended, summary
from projectsetup.cli.running import cluster
from projectsetup.cli.status_view import detail, live_overview, overview
from projectsetup.kube.connection import Kubeconfig


class Table:
    """All ProjectSetups, a row each."""

    def __init__(self, *, with_namespace: bool) -> None:
        self._with_namespace = with_namespace

    def draw(self, found: Found) -> Text:
        """As much of the table as the terminal has room for."""
        return live_overview(
            (observed.resource for observed in found.values()),
            datetime.now(UTC),
            with_namespace=self._with_namespace,
            height=shutil.get_terminal_size().lines,
        )

    def changes(self, found: Found, changed: Collection[Key], *, first: bool) -> Text:
        """At first the whole table, then the rows that changed."""
        return self._rows(found, None if first else changed)

    def _rows(self, found: Found, only: Collection[Key] | None) -> Text:
        resources = (observed.resource for observed in found.values())
        return overview(resources, datetime.now(UTC), with_namespace=self._with_namespace, only=only)


class Detail:
    """One ProjectSetup."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def draw(self, found: Found) -> Text:
        """All about it."""
        return detail(found[self._key].resource, datetime.now(UTC), bar=True)

    def changes(self, found: Found, _changed: Collection[Key], *, first: bool) -> Text:  # noqa: ARG002
        """Where it is, in one line; all about it when it is over."""
        if self.is_over(found):
            return self.draw(found)
        return Text(printable(summary(found[self._key].resource, datetime.now(UTC))))

    def is_over(self, found: Found) -> bool:
        """Whether the setup is over; CommandError when it was deleted."""
        if self._key not in found:
            raise CommandError("ProjectSetup {}/{} was deleted".format(*self._key), ExitCode.FAILED)
        return ended(found[self._key].resource) is not None


async def watch_all(kubeconfig: Kubeconfig, namespace: str | None, output: Format) -> None:
    """Show the ProjectSetups of one namespace, or of all, until interrupted."""
    view = Table(with_namespace=namespace is None)
    async with cluster(kubeconfig) as setups:
        await setups.list(namespace)
        with presented(view, output) as present:

            def on_change(found: Found) -> bool:
                present(found)
                return False

            await Follower(setups, namespace, None, on_outage=_tell_outage).run(on_change)


async def watch_one(kubeconfig: Kubeconfig, namespace: str, name: str, output: Format) -> None:
    """Show one ProjectSetup until its setup is over; NoSuchSetup."""
    view = Detail((namespace, name))
    async with cluster(kubeconfig) as setups:
        await setups.get(namespace, name)
        with presented(view, output) as present:

            def on_change(found: Found) -> bool:
                over = view.is_over(found)
                present(found)
                return over

            await Follower(setups, namespace, name, on_outage=_tell_outage).run(on_change)


def _tell_outage(why: str) -> None:
    say(one_line(f"waiting for the API server ({why})"))
