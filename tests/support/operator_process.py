"""The real operator as a process of its own, as a test starts, kills, freezes and ends it."""

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
from typing import Self

from devcluster.ports import free_port

READY_LIMIT = 60.0
END_LIMIT = 60.0


def wait_for(condition: Callable[[], object], what: str, *, limit: float = 30.0, poll: float = 0.05) -> None:
    """Return when `condition` holds; fail after `limit` seconds and say what was waited for."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit:.0f} s for {what}")
        time.sleep(poll)


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
        """`settings` are the variables PROJECTSETUP_… in lower case, `environment` are other ones."""
        folder.mkdir(parents=True, exist_ok=True)
        self.workspaces = folder / "workspaces"
        self.workspaces.mkdir(exist_ok=True)
        self.log = folder / "operator.log"
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
        """Change `settings` and `environment`; that counts from the next start."""
        self._environment |= {f"PROJECTSETUP_{name.upper()}": value for name, value in settings.items()}
        self._environment |= environment or {}

    def start(self, *, ready: bool = True) -> Self:
        """Start it, again if it has ended; with `ready` return when it answers so."""
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
            wait_for(self._ready_or_ended, "the operator to be ready", limit=READY_LIMIT)
            assert self.alive, f"the operator ended: {self.log_tail()}"
        return self

    def _ready_or_ended(self) -> bool:
        return self.is_ready() or not self.alive

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        assert self._process is not None, "the operator was not started"
        return self._process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    @property
    def ended(self) -> bool:
        """Whether it is not there: never started, or ended."""
        return self._process is None or not self.alive

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of what its HTTP port answers; 0 when it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        return self.get("/readyz")[0] == 200

    def leads(self) -> bool:
        """Whether its metrics say that it leads."""
        return "projectsetup_leading 1.0" in self.get("/metrics")[1]

    def kill(self) -> None:
        """SIGKILL, and reap it."""
        self.process.kill()
        self.process.wait(END_LIMIT)

    def freeze(self) -> None:
        """SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def terminate(self) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_LIMIT)

    def close(self) -> None:
        """End it whatever state it is in."""
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
