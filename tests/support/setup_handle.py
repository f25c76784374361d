"""One ProjectSetup that a test creates, changes and observes, with its project and events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tests.support.api_server import ApiServer, Body
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import ENDED, PREFIX, Row, Sandbox, reason

LIMIT: Final = 60.0


class Steps:
    """A folder in which steps of the recipe `gated` report their start and wait for their release."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def started(self) -> list[str]:
        """The projects whose attempts have started, in this order, one entry each."""
        return [line.split()[0] for line in self._lines()]

    @property
    def attempts(self) -> list[int]:
        """The numbers of the attempts that have started."""
        return [int(line.split()[1]) for line in self._lines()]

    def release(self, setup: Setup | None = None) -> None:
        """Release the step of one project, or all steps."""
        (self.folder / (f"go-{setup.name}" if setup else "go")).touch()

    def await_start(self, *setups: Setup, limit: float = LIMIT) -> None:
        """Return once the steps of all these setups have started."""
        names = {setup.name for setup in setups}
        wait_for(lambda: names <= set(self.started), f"the start of {len(names)} gated steps", limit=limit)

    def _lines(self) -> list[str]:
        started = self.folder / "started"
        return started.read_text().splitlines() if started.exists() else []


@dataclass(slots=True, eq=False)
class Setup:
    """A ProjectSetup in the namespace of `api`; annotations are named without their prefix, `_` for `-`."""

    sandbox: Sandbox
    api: ApiServer
    name: str
    created: str = "0"
    """The resourceVersion with which it was created."""

    @classmethod
    def make(
        cls,
        sandbox: Sandbox,
        recipe: str = "instant",
        *,
        project: str | None = None,
        api: ApiServer | None = None,
        annotations: dict[str, str] | None = None,
        spec: dict[str, Any] | None = None,
        parameters: Mapping[str, str] | None = None,
        **more_parameters: str,
    ) -> Self:
        """Create a ProjectSetup, of a new project unless one is given."""
        place = api or sandbox.api
        wanted = {"recipe": recipe, "parameters": {**(parameters or {}), **more_parameters}, **(spec or {})}
        body = place.create(project or sandbox.project(), spec=wanted, annotations=_named(annotations or {}))
        return cls(sandbox, place, body["metadata"]["name"], body["metadata"]["resourceVersion"])

    @classmethod
    def gated(cls, sandbox: Sandbox, steps: Steps, **options: Any) -> Self:
        """Create a ProjectSetup whose only step waits for its release."""
        return cls.make(sandbox, "gated", place=str(steps.folder), **options)

    @property
    def body(self) -> Body:
        """The whole object."""
        return self.api.get(self.name)

    @property
    def status(self) -> Body:
        """Its status; empty if it has none yet."""
        status: Body = self.body.get("status", {})
        return status

    @property
    def record(self) -> Row:
        """The row of its project."""
        return self.sandbox.record(self.name)

    def annotate(self, **values: str) -> None:
        """Set annotations."""
        self.api.patch(self.name, {"metadata": {"annotations": _named(values)}})

    def change(self, **spec: object) -> None:
        """Change fields of the spec."""
        self.api.patch(self.name, {"spec": spec})

    def wait_for(self, what: str, is_true: Callable[[Body], object], *, limit: float = LIMIT) -> Body:
        """The status once `is_true(status)`."""
        seen: list[Body] = [{}]

        def holds() -> object:
            seen[0] = self.status
            return is_true(seen[0])

        try:
            wait_for(holds, f"ProjectSetup {self.name} to be {what}", limit=limit)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {seen[0]}\n{self.sandbox.operator.log_tail()}") from None
        return seen[0]

    def reached(self, *phases: str, limit: float = LIMIT) -> Body:
        """The status once it has one of these phases."""
        return self.wait_for(" or ".join(phases), lambda status: status.get("phase") in phases, limit=limit)

    def ended(self, *, limit: float = LIMIT) -> tuple[str, Body]:
        """Reason and status once it has ended."""
        status = self.reached(*ENDED, limit=limit)
        return reason(status), status

    def ended_after_retry(self, retry: str, *, limit: float = LIMIT) -> tuple[str, Body]:
        """Reason and status once the series that this retry started has ended."""

        def has_ended(status: Body) -> bool:
            return status.get("phase") in ENDED and status.get("lastHandledRetry") == retry

        status = self.wait_for(f"ended after retry {retry}", has_ended, limit=limit)
        return reason(status), status

    def reached_reason(self, why: str, *, limit: float = LIMIT) -> Body:
        """The status once the reason of `Succeeded` is `why`."""
        return self.wait_for(f"in state {why}", lambda status: reason(status) == why, limit=limit)

    def delete(self) -> None:
        """Delete it."""
        self.api.delete(self.name)

    @property
    def events(self) -> list[str]:
        """Reasons of its events in order of time."""
        return [event["reason"] for event in self.api.events(self.name)]

    def notes(self, about: str) -> list[str]:
        """The texts of the events of one reason."""
        return [event["note"] for event in self.api.events(self.name) if event["reason"] == about]

    def wait_for_events(self, *reasons: str) -> None:
        """Return once it has exactly these events in this order.

        `Started`, which only attempts that run for a second have, may be missing from `reasons`.
        """
        ignored = {"Started"} - {*reasons}

        def found() -> bool:
            return [reason for reason in self.events if reason not in ignored] == list(reasons)

        try:
            wait_for(found, f"events {reasons} on {self.name}", limit=LIMIT)
        except AssertionError as error:
            raise AssertionError(f"{error}; there are {self.events}") from None

    def changes(self) -> list[Body]:
        """Every version of the object stored after its creation."""
        return self.api.changes(self.name, since=self.created)


def condition(status: Body, kind: str) -> Body:
    """One condition of a status."""
    return next(found for found in status["conditions"] if found["type"] == kind)


def _named(annotations: Mapping[str, str]) -> dict[str, str]:
    return {PREFIX + name.replace("_", "-"): value for name, value in annotations.items()}
