"""Runs Oban for Python as a contender: its schema, its worker, and a client that enqueues."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Final, cast

from benchmarks import debian_python
from benchmarks.arena import Arena, Process, Start, until

OBAN: Final = "Oban for Python"
Ask = Callable[[str], int]
"""Sends a line of `benchmarks/oban_request.py`; returns when Oban acknowledged it, in nanoseconds of the wall clock."""


def shell(script: str) -> list[str]:
    """A step that runs this script."""
    return ["sh", "-euc", script]


class ObanRunner:
    """Oban in the database of this arena, with its schema installed by Oban itself."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._command = debian_python.python(debian_python.OBAN, arena.folder)
        self._environment = {"OBAN_DSN": arena.cluster.database_url, "DATABASE_URL": arena.cluster.database_url}
        done = subprocess.run(
            self._python("oban", "install"), env=self._all(), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"oban install failed: {done.stderr[-2000:]}")

    @contextmanager
    def worker(self, start: Start) -> Iterator[Process]:
        """Run a worker, ready."""
        with self._arena.process(start) as process:
            until(lambda: self._producers() == 1, "Oban to be ready", alive=process)
            yield process

    def start(
        self, steps: Sequence[Sequence[str]], *, at_once: int, paused: bool = False, uvloop: bool = False
    ) -> Start:
        """How to start a worker for a queue of so many jobs at once: embedded, or on uvloop with `oban start`."""
        file = self._arena.folder / "oban.toml"
        file.write_text(f"[queues.default]\nlimit = {at_once}\npaused = {json.dumps(paused)}\n")
        on_uvloop = self._python("oban", "start", f"--config={file}", "--cron-modules=benchmarks.oban_peer")
        queue = json.dumps({"limit": at_once, "paused": paused})
        environment = {**self._environment, "PEER_STEPS": json.dumps(steps), "PEER_QUEUE": queue}
        command = on_uvloop if uvloop else self._python("benchmarks.oban_embedded")
        return Start("oban", command, environment)

    @contextmanager
    def client(self) -> Iterator[Ask]:
        """Run a client of Oban."""
        command, environment = self._python("benchmarks.oban_request"), {**self._all(), "PEER_STEPS": "[]"}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as client:
            requests, answers = cast("IO[str]", client.stdin), cast("IO[str]", client.stdout)

            def ask(line: str) -> int:
                print(line, file=requests, flush=True)
                return int(answers.readline())

            yield ask

    def clear(self) -> None:
        """Delete all jobs, and what a killed worker has left."""
        self._arena.query("DELETE FROM oban_jobs RETURNING 1")
        self._arena.query("DELETE FROM oban_producers RETURNING 1")

    def has_completed(self, project: str) -> bool:
        """Whether the job of a project has completed."""
        statement = "SELECT count(*) FROM oban_jobs WHERE args->>'project' = %s AND state = 'completed'"
        return bool(self._arena.query(statement, project)[0][0])

    def _producers(self) -> int:
        return int(self._arena.query("SELECT count(*) FROM oban_producers")[0][0])

    def _python(self, module: str, *arguments: str) -> list[str]:
        return [*self._command, "-m", module, *arguments]

    def _all(self) -> dict[str, str]:
        return {**os.environ, **self._environment}
