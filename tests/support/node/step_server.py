"""A server that steps in pods report to, and that decides when they continue."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Self

from tests.support.operator_process import wait_for


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a step: the event is `begin`, `work`, `worked`, `end`, or `stopping` after SIGTERM."""

    project: str
    attempt: int
    pod: str
    event: str


class StepServer:
    """Accepts `report PROJECT ATTEMPT POD EVENT` and `wait PROJECT`, answered `go` once the project may continue."""

    def __init__(self, address: str) -> None:
        """`address` is one of this machine that pods can reach."""
        self._reports: list[Report] = []
        self._gates: dict[str, threading.Event] = defaultdict(threading.Event)
        self._closing = False
        self._server = _Server((address, 0), _handler(self))
        self.address = f"{address} {self._server.server_address[1]}"
        """Its address and port, as arguments of `nc`."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="step server", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self.open(*self._gates)
        self._server.shutdown()
        self._server.server_close()

    def open(self, *projects: str) -> None:
        """Let the steps of these projects continue that wait or will wait."""
        for project in projects:
            self._gates[project].set()

    def reports(self, project: str, event: str) -> list[Report]:
        """Return the reports of this event."""
        return [report for report in list(self._reports) if (report.project, report.event) == (project, event)]

    def await_report(self, project: str, event: str, *, times: int = 1, limit: float = 60.0) -> None:
        """Return once the event was reported at least so many times."""
        wait_for(
            lambda: len(self.reports(project, event)) >= times,
            f"{project} to report {event} {times} times",
            limit=limit,
        )

    def answer(self, line: str) -> str:
        """Answer a line."""
        match line.split():
            case ["report", project, attempt, pod, event]:
                self._reports.append(Report(project, int(attempt), pod, event))
            case ["wait", project]:
                self._gates[project].wait()
                return "" if self._closing else "go"
        return ""


class _Server(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


def _handler(step_server: StepServer) -> type[StreamRequestHandler]:
    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            try:
                self.wfile.write(step_server.answer(self.rfile.readline().decode()).encode())
            except OSError:
                return  # the client is gone

    return Handler
