"""A server that steps call when they start, so that every run of every step is counted, whoever runs it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.arena import until


class StepCalls:
    """The calls so far; `url` is where a step calls, followed by `/NAME/NUMBER`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._calls: list[tuple[str, int, float]] = []

    def add(self, name: str, number: int) -> None:
        """A step of this object has started."""
        with self._lock:
            self._calls.append((name, number, time.perf_counter()))

    def started(self, name: str, number: int) -> float | None:
        """`time.perf_counter()` at the first start of a step; None if it has not started."""
        with self._lock:
            return next((at for found, step, at in self._calls if (found, step) == (name, number)), None)

    def wait_for(self, name: str, number: int, limit: float) -> float:
        """The same, once the step has started. Raises TimedOut."""
        until(
            lambda: self.started(name, number) is not None, f"step {number} of {name} to start", every=0.01, limit=limit
        )
        return self.started(name, number) or 0.0

    def repeated(self, *names: str) -> int:
        """How often steps of these objects ran again."""
        with self._lock:
            counts = Counter((name, number) for name, number, _ in self._calls if name in names)
        return sum(count - 1 for count in counts.values())


@contextmanager
def step_calls(host: str) -> Iterator[StepCalls]:
    """A server on this address of the machine until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, name, number = self.path.split("/")
            calls.add(name, int(number))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # named by the base class
            """Nothing: the calls are counted, not logged."""

    server = ThreadingHTTPServer((host, 0), Handler)
    calls = StepCalls(f"http://{host}:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield calls
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
