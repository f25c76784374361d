"""The real operator, except that it sends itself a signal at the call that FAULT names.

FAULT is `METHOD DETAIL before|after SIGNAL [N]`, such as `replace_status Running after SIGKILL`: the signal is sent
before or after the N-th call (default 1) of that port method with that detail (`*`: any).
RESYNC_SECONDS shortens the time between full lists and the age at which a silent watch counts as broken.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any, Self

from projectsetup.bootstrap import Ports, compose, connections, new_metrics, running_engine
from projectsetup.controller import controller
from projectsetup.kube.setups import OPERATOR, SetupClient
from projectsetup.observe import watch_age
from projectsetup.observe.logs import configure_logging
from projectsetup.projects.address import DatabaseAddress
from projectsetup.projects.record import ProjectRecord
from projectsetup.settings import load_settings


@dataclass(slots=True)
class Fault:
    """The signal to send, and when."""

    method: str
    detail: str
    moment: str
    signal: str
    calls_left: str = "1"

    @classmethod
    def from_environment(cls) -> Self:
        """Parse FAULT; without it no signal is sent."""
        return cls(*os.environ.get("FAULT", "none * before SIGKILL").split())

    def strike(self, method: str, moment: str, arguments: dict[str, Any]) -> None:
        """Send the signal if this is the call."""
        if (method, moment) != (self.method, self.moment) or self.detail not in {"*", _detail(method, arguments)}:
            return
        self.calls_left = str(int(self.calls_left) - 1)
        if self.calls_left == "0":
            os.kill(os.getpid(), signal.Signals[self.signal])


class Faulty:
    """Wraps a port and checks each call against the fault."""

    def __init__(self, port: Any, fault: Fault) -> None:
        self._port = port
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        async def call(*arguments: Any, **named: Any) -> Any:
            self._fault.strike(name, "before", named)
            result = await method(*arguments, **named)
            self._fault.strike(name, "after", named)
            return result

        return call


def _detail(method: str, arguments: dict[str, Any]) -> str:
    """Return what distinguishes calls of one method: the claimed status, the written phase, or the kind of end."""
    match method:
        case "claim":
            return str(arguments["status"])
        case "finish":
            return str(arguments["result"].get("kind"))
        case "replace_status":
            return str(arguments["status"].get("phase"))
    return ""


async def run() -> int:
    """Run `bootstrap.run_operator` with faulty ports."""
    settings, fault, metrics = load_settings(), Fault.from_environment(), new_metrics()
    configure_logging(settings.log_format, scrub=str)
    database = DatabaseAddress.parse(settings.database_url.get_secret_value())
    record = ProjectRecord.connect(database, on_error=metrics.database_failed)
    faulty_record: Any = Faulty(record, fault)
    try:
        async with (
            connections(settings, metrics) as (api, elected),
            running_engine(settings, database, api, elected, metrics) as engine,
        ):
            cluster: Any = Faulty(SetupClient(api, field_manager=OPERATOR), fault)
            faulty_engine: Any = Faulty(engine, fault)
            ports = Ports(cluster, faulty_record, faulty_engine, elected)
            return await compose(settings, api, ports, metrics, scrub=str).run()
    finally:
        await record.close()


if __name__ == "__main__":
    if seconds := os.environ.get("RESYNC_SECONDS"):
        controller.RESYNC_PERIOD = watch_age.DELIVERY_LIMIT = float(seconds)
    sys.exit(asyncio.run(run()))
