"""A container for the script of a stage: namespaces of its own, and the words and variables that its Job gives it."""

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
"""Seconds that anything here may take."""


def has_namespaces() -> bool:
    """Whether this machine lets this user make namespaces."""
    try:
        return subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False, timeout=LIMIT).returncode == 0
    except OSError:
        return False


def expand(text: str) -> str:
    """What the kubelet makes of a word that holds no reference, which is one that does not begin with a single `$`."""
    parts = text.split("$$")
    assert not any("$(" in part for part in parts), "a reference is left"
    return "$".join(parts)


@dataclass(frozen=True, slots=True)
class Ended:
    """How the container ended."""

    code: int
    log: bytes
    message: bytes

    @property
    def lines(self) -> list[str]:
        """The log."""
        return self.log.decode("utf-8", "replace").splitlines()

    @property
    def report(self) -> StageReport:
        """What the message tells."""
        report = read_report(self.message.decode("utf-8", "replace"))
        assert report is not None, self.message
        return report


@dataclass
class Container:
    """One container of a pod, not yet started; `secret` are the files of the mounted Secret.

    `grace` takes the place of the seconds that a step has to end; `extra` are variables that the cluster adds.
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
        variables = {item["name"]: self._word(item["value"]) for item in self.spec["env"]}  # type: ignore[attr-defined]
        _, option, script, name = (expand(word) for word in self.spec["command"])  # type: ignore[attr-defined]
        words = [self._word(word) for word in self.spec["args"]]  # type: ignore[attr-defined]
        if self.grace is not None:
            words[3] = str(self.grace)
        process = subprocess.Popen(
            [*NAMESPACES, *self.shell, option, script, name, *words],
            env={**self.extra, **variables, "PATH": self.path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return Running(process, message)

    def run(self) -> Ended:
        """Run it to its end."""
        return self.start().end()

    def _word(self, word: str) -> str:
        places = {
            pod.SECRETS: "git",
            pod.PRIVATE: "private",
            pod.FRESH: "fresh",
            pod.OUTPUTS: "termination-log",
            pod.ROOT: "setup",
        }
        word = expand(word)
        for place, name in places.items():
            word = word.replace(str(place), str(self.folder / name))
        return word


class Running:
    """A container that runs."""

    def __init__(self, process: subprocess.Popen[bytes], message: Path) -> None:
        self._process = process
        self._message = message
        self._log = b""
        self._told = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while piece := os.read(self._process.stdout.fileno(), 65536):
            with self._told:
                self._log += piece
                self._told.notify_all()

    def wait_for(self, text: str) -> None:
        """Until its log holds the text."""
        with self._told:
            assert self._told.wait_for(lambda: text.encode() in self._log, LIMIT), f"{text!r} not in {self._log!r}"

    def send(self, number: int) -> None:
        """A signal to its first process, as the kubelet sends it."""
        (first,) = children(self._process.pid)
        os.kill(first, number)

    def end(self) -> Ended:
        """Wait for its end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LIMIT)
        code = self._process.poll()
        self._process.kill()
        self._reader.join(LIMIT)
        assert self._process.stdout is not None
        self._process.stdout.close()
        assert code is not None, f"did not end within {LIMIT} s: {self._log!r}"
        return Ended(code, self._log, self._message.read_bytes())


def containers(attempt: AttemptSpec, settings: PodSettings | None = None) -> list[Mapping[str, object]]:
    """The containers of its pod, in their order."""
    spec = pod.attempt_pod(attempt, settings or PodSettings())
    return [*spec.get("initContainers", ()), *spec["containers"]]
