"""A server to which steps in pods report, and which decides when they continue."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Self

from tests.support.operator_process import wait_for


@dataclass(frozen=True, slots=True)
class Word:
    """What a step of an attempt reports: it began, ended, or received SIGTERM."""

    project: str
    attempt: int
    pod: str
    what: str


class StepServer:
    """Takes `tell PROJECT ATTEMPT POD WHAT` and `wait PROJECT`, answered `go` once the project may continue."""

    def __init__(self, address: str) -> None:
        """`address`: one of this machine that pods can reach."""
        self.words: list[Word] = []
        self._gates: dict[str, threading.Event] = defaultdict(threading.Event)
        self._closing = False
        self._server = _Server((address, 0), _handler(self))
        self.place = f"{address} {self._server.server_address[1]}"
        """Its address and port, as arguments of `nc`."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="step_server", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self.open(*self._gates)
        self._server.shutdown()
        self._server.server_close()

    def open(self, *projects: str) -> None:
        """Let the steps of these projects continue that wait, or will wait."""
        for project in projects:
            self._gates[project].set()

    def reports(self, project: str, what: str) -> list[Word]:
        """Return the reports of this kind."""
        return [word for word in list(self.words) if (word.project, word.what) == (project, what)]

    def hears(self, project: str, what: str, *, times: int = 1, limit: float = 60.0) -> None:
        """Return once that was reported so often."""
        wait_for(
            lambda: len(self.reports(project, what)) >= times, f"{project} to report {what} {times} times", limit=limit
        )

    def answer(self, line: str) -> str:
        """Answer a line."""
        match line.split():
            case ["tell", project, attempt, pod, what]:
                self.words.append(Word(project, int(attempt), pod, what))
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
