"""The real operator, but for one thing: at the call that FAULT names it sends itself a signal.

FAULT is `METHOD DETAIL before|after SIGNAL [N]`, such as `replace_status Running after SIGKILL`: at the N-th call (the
first) of that method of a port whose detail is that one (`*`: any), before the call or after it has returned.
COMPARE_SECONDS makes the comparisons with full lists more frequent than they are.
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
    """What happens to this process, and when."""

    method: str
    detail: str
    moment: str
    signal: str
    calls_left: str = "1"

    @classmethod
    def from_environment(cls) -> Self:
        """As FAULT says; without it nothing happens."""
        return cls(*os.environ.get("FAULT", "none * before SIGKILL").split())

    def strike(self, method: str, moment: str, arguments: dict[str, Any]) -> None:
        """Let it happen if this is the call."""
        if (method, moment) != (self.method, self.moment) or self.detail not in {"*", _detail(method, arguments)}:
            return
        self.calls_left = str(int(self.calls_left) - 1)
        if self.calls_left == "0":
            os.kill(os.getpid(), signal.Signals[self.signal])


class Faulty:
    """A port whose every call may be the one."""

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
    """What tells calls of one method apart: the status of the project, the phase that is written, how it ended."""
    match method:
        case "claim":
            return str(arguments["status"])
        case "finish":
            return str(arguments["result"].get("kind"))
        case "replace_status":
            return str(arguments["status"].get("phase"))
    return ""


async def run() -> int:
    """`bootstrap.run_operator` with faulty ports."""
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
    if seconds := os.environ.get("COMPARE_SECONDS"):
        controller.RESYNC_PERIOD = watch_age.DELIVERY_LIMIT = float(seconds)
    sys.exit(asyncio.run(run()))
