"""The real operator in its own process, which a test starts, kills, freezes and stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

from devcluster.ports import free_port

READY_LIMIT = 60.0
END_LIMIT = 60.0
T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, *, limit: float = 30.0) -> T:
    """What `condition` returned once it held; fail after `limit` seconds and name `what` was expected.

    The condition is checked once more after the limit: on a busy machine one check can take long.
    """
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        if found := condition():
            return found
        if waited > limit:
            raise AssertionError(f"waited {limit:.0f} s for {what}")
        time.sleep(pause_after(waited))


def pause_after(waited: float) -> float:
    """The seconds until the condition is checked again: longer in long waits, whose checks would cost too much."""
    return min(max(waited / 10, 0.05), 0.5)


class OperatorProcess:
    """`projectsetup operator` on a control plane; its workspaces, package caches and log are below `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        kubeconfig: Path,
        database_url: str,
        command: Sequence[str] = (sys.executable, "-m", "projectsetup", "operator"),
        environment: Mapping[str, str] | None = None,
        **settings: str,
    ) -> None:
        """`settings`: variables PROJECTSETUP_… in lower case; `environment`: other variables."""
        folder.mkdir(parents=True, exist_ok=True)
        self.workspaces = folder / "workspaces"
        self.workspaces.mkdir(exist_ok=True)
        self.log = folder / "operator.log"
        self.log.touch()
        self.port = free_port()
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PROJECTSETUP_")},
            "KUBECONFIG": str(kubeconfig),
            "DATABASE_URL": database_url,
            "PROJECTSETUP_ALLOW_FILE_REPOS": "true",
            "PROJECTSETUP_HTTP_PORT": str(self.port),
            "PROJECTSETUP_WORKSPACE_ROOT": str(self.workspaces),
            "PROJECTSETUP_LOG_FORMAT": "json",
            "XDG_CACHE_HOME": str(folder / "cache"),  # caches of namespaces that exist for one run only
            "UV_CACHE_DIR": "",
            "PIP_CACHE_DIR": "",
            **{f"PROJECTSETUP_{name.upper()}": value for name, value in settings.items()},
            **(environment or {}),
        }

    def configure(self, environment: Mapping[str, str] | None = None, **settings: str) -> None:
        """Change `settings` and `environment` for the next start."""
        self._environment |= {f"PROJECTSETUP_{name.upper()}": value for name, value in settings.items()}
        self._environment |= environment or {}

    def start(self, *, ready: bool = True, limit: float = READY_LIMIT) -> Self:
        """Start the operator, or start it again; with `ready`, return once it is ready, within `limit` seconds."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if ready:
            wait_for(self._ready_or_ended, "the operator to be ready", limit=limit)
            assert self.alive, f"the operator ended: {self.log_tail()}"
        return self

    def _ready_or_ended(self) -> bool:
        return self.is_ready() or not self.alive

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The last process that was started."""
        assert self._process is not None, "the operator was not started"
        return self._process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    @property
    def ended(self) -> bool:
        """Whether the operator was never started or has ended."""
        return self._process is None or not self.alive

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of the HTTP response; status 0 if there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def is_ready(self) -> bool:
        """Whether /readyz reports readiness."""
        return self.get("/readyz")[0] == 200

    def leads(self) -> bool:
        """Whether its metrics report that it leads."""
        return "projectsetup_leading 1.0" in self.get("/metrics")[1]

    def kill(self) -> None:
        """Send SIGKILL and reap the process."""
        self.process.kill()
        self.process.wait(END_LIMIT)

    def freeze(self) -> None:
        """Send SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Send SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def terminate(self) -> int:
        """Send SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_LIMIT)

    def close(self) -> None:
        """Stop the operator in any state."""
        if self._process is not None and self.alive:
            self.thaw()
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(END_LIMIT)
            except subprocess.TimeoutExpired:
                self.kill()

    def log_tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:]
