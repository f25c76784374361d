"""Where the steps in pods tell what they do, and ask whether they may go on."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.operator_process import wait_for


@dataclass(frozen=True, slots=True)
class Word:
    """A step of an attempt has begun, ended, or was asked to stop."""

    project: str
    attempt: int
    pod: str
    what: str


class Desk:
    """Serves /tell/PROJECT/ATTEMPT/POD/WHAT and /wait/PROJECT, which answers once the project may go on."""

    def __init__(self, address: str) -> None:
        """`address` is one of this machine that pods reach."""
        self.words: list[Word] = []
        self._open: dict[str, threading.Event] = defaultdict(threading.Event)
        self._closing = False
        self._server = ThreadingHTTPServer((address, 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://{address}:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="desk", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        for gate in list(self._open.values()):
            gate.set()
        self._server.shutdown()
        self._server.server_close()

    def open(self, *projects: str) -> None:
        """Steps of these projects that wait, or will, go on."""
        for project in projects:
            self._open[project].set()

    def told(self, project: str, what: str) -> list[Word]:
        """How often, and by whom, that was told."""
        return [word for word in list(self.words) if (word.project, word.what) == (project, what)]

    def hears(self, project: str, what: str, *, times: int = 1, limit: float = 60.0) -> None:
        """Return once that was told so often."""
        wait_for(lambda: len(self.told(project, what)) >= times, f"{project} to tell {what} {times} times", limit=limit)

    def answer(self, path: str) -> bool:
        """Whether the request is one of ours; returns when it may be answered."""
        match path.strip("/").split("/"):
            case ["tell", project, attempt, pod, what]:
                self.words.append(Word(project, int(attempt), pod, what))
            case ["wait", project]:
                self._open[project].wait()
            case _:
                return False
        return not self._closing


def _handler(desk: Desk) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            self.send_response(200 if desk.answer(self.path) else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    return Handler
