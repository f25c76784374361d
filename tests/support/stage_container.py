"""A container for the script of a stage: its own namespaces, and the arguments and variables of its Job."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from projectsetup.engines.base import AttemptSpec
from projectsetup.engines.kubernetes_job import pod
from projectsetup.engines.kubernetes_job.outcome import StageReport, read_report
from projectsetup.engines.kubernetes_job.pod import PodSettings
from tests.support.processes import children

_AS_ROOT = () if os.geteuid() == 0 else ("--user", "--map-root-user")
NAMESPACES = (shutil.which("unshare") or "unshare", *_AS_ROOT, "--pid", "--fork", "--mount-proc", "--kill-child")
LIMIT = 60.0
"""Limit of every wait, in seconds."""


def has_namespaces() -> bool:
    """Whether this user may create namespaces on this machine."""
    try:
        return subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False, timeout=LIMIT).returncode == 0
    except OSError:
        return False


def expand(text: str) -> str:
    """Expand a text without references as the kubelet does: `$$` becomes `$`."""
    parts = text.split("$$")
    assert not any("$(" in part for part in parts), "a reference is left"
    return "$".join(parts)


@dataclass(frozen=True, slots=True)
class ContainerResult:
    """The end of a container."""

    code: int
    log: bytes
    message: bytes

    @property
    def lines(self) -> list[str]:
        """The lines of the log."""
        return self.log.decode("utf-8", "replace").splitlines()

    @property
    def report(self) -> StageReport:
        """The report in the termination message."""
        report = read_report(self.message.decode("utf-8", "replace"))
        assert report is not None, self.message
        return report


@dataclass
class Container:
    """One container of a pod, not yet started; `secret`: files of the mounted Secret.

    `grace`: seconds between SIGTERM and SIGKILL; `extra`: variables that the cluster adds.
    """

    folder: Path
    spec: Mapping[str, object]
    shell: tuple[str, ...]
    secret: Mapping[str, str] = field(default_factory=dict)
    path: str = os.environ["PATH"]
    grace: int | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> Running:
        """Start it."""
        for name in ("setup", "git", "private", "fresh"):
            (self.folder / name).mkdir(exist_ok=True)
        for name, content in self.secret.items():
            (self.folder / "git" / name).write_text(content)
        message = self.folder / "termination-log"
        message.touch()
        variables = {item["name"]: self._expanded(item["value"]) for item in self.spec["env"]}  # type: ignore[attr-defined]
        _, option, script, name = (expand(text) for text in self.spec["command"])  # type: ignore[attr-defined]
        arguments = [self._expanded(text) for text in self.spec["args"]]  # type: ignore[attr-defined]
        if self.grace is not None:
            arguments[3] = str(self.grace)
        process = subprocess.Popen(
            [*NAMESPACES, *self.shell, option, script, name, *arguments],
            env={**self.extra, **variables, "PATH": self.path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return Running(process, message)

    def run(self) -> ContainerResult:
        """Run it to its end."""
        return self.start().end()

    def _expanded(self, text: str) -> str:
        places = {
            pod.SECRETS: "git",
            pod.PRIVATE: "private",
            pod.FRESH: "fresh",
            pod.OUTPUTS: "termination-log",
            pod.ROOT: "setup",
        }
        text = expand(text)
        for place, name in places.items():
            text = text.replace(str(place), str(self.folder / name))
        return text


class Running:
    """A running container."""

    def __init__(self, process: subprocess.Popen[bytes], message: Path) -> None:
        self._process = process
        self._message = message
        self._log = b""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while piece := os.read(self._process.stdout.fileno(), 65536):
            with self._changed:
                self._log += piece
                self._changed.notify_all()

    def wait_for(self, text: str) -> None:
        """Wait until its log holds the text."""
        with self._changed:
            assert self._changed.wait_for(lambda: text.encode() in self._log, LIMIT), f"{text!r} not in {self._log!r}"

    def send(self, number: int) -> None:
        """Send a signal to process 1, as the kubelet does."""
        (first,) = children(self._process.pid)
        os.kill(first, number)

    def end(self) -> ContainerResult:
        """Wait for its end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LIMIT)
        code = self._process.poll()
        self._process.kill()
        self._reader.join(LIMIT)
        assert self._process.stdout is not None
        self._process.stdout.close()
        assert code is not None, f"did not end within {LIMIT} s: {self._log!r}"
        return ContainerResult(code, self._log, self._message.read_bytes())


def containers(attempt: AttemptSpec, settings: PodSettings | None = None) -> list[Mapping[str, object]]:
    """The containers of its pod, in order."""
    spec = pod.attempt_pod(attempt, settings or PodSettings())
    return [*spec.get("initContainers", ()), *spec["containers"]]
