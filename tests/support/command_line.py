"""Runs the command line in this process or in its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import pytest

from projectsetup.cli.app import run

SECONDS: Final = 60.0
"""Limit in seconds of a command in its own process."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, read as JSON."""
        return json.loads(self.out)


class CommandLine:
    """Calls commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> CommandResult:
        """Call one command."""
        self._capsys.readouterr()
        code = run([str(argument) for argument in arguments], called_as="projectsetup")
        out, err = self._capsys.readouterr()
        return CommandResult(int(code), out, err)

    def ok(self, *arguments: object) -> CommandResult:
        """Call one command, which must succeed and print nothing on standard error."""
        done = self(*arguments)
        assert (done.code, done.err) == (0, ""), done
        return done

    def refused(self, code: int, *arguments: object) -> str:
        """Call one command, which must exit with this code and print only one error line; returns that line."""
        done = self(*arguments)
        assert (done.code, done.out) == (code, ""), done
        return one_error(done.err)


def one_error(err: str) -> str:
    """The text of the only line on standard error."""
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err.removeprefix("error: ").rstrip("\n")


def command(*arguments: str) -> list[str]:
    """The arguments that run a command in its own process."""
    return [sys.executable, "-m", "projectsetup", *arguments]


def environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """The environment of this process with changes; None removes a variable."""
    merged: dict[str, str | None] = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def process(*arguments: str, **changes: str | None) -> CommandResult:
    """Run one command in its own process, with a changed environment."""
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=SECONDS, env=environment(changes), check=False
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


def write_kubeconfig(path: Path, server: str) -> str:
    """Write a kubeconfig with a token for a server; returns its path."""
    path.write_text(
        f"""
apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "{server}"}}}}]
users: [{{name: u, user: {{token: geheim}}}}]
"""
    )
    return str(path)


class Running:
    """A command in its own process, with its output in files below `folder`.

    On a terminal, standard output holds both streams.
    """

    def __init__(self, folder: Path, *arguments: str, terminal: bool = False) -> None:
        self._out, self._err = folder / "out", folder / "err"
        self._reader: threading.Thread | None = None
        with self._out.open("wb") as out, self._err.open("wb") as err:
            if not terminal:
                self._process = subprocess.Popen(command(*arguments), stdout=out, stderr=err)
                return
        ours, theirs = pty.openpty()
        changed = environment({"TERM": "xterm", "COLUMNS": "200", "LINES": "60"})
        self._process = subprocess.Popen(command(*arguments), stdout=theirs, stderr=theirs, env=changed)
        os.close(theirs)
        self._reader = threading.Thread(target=_copy, args=(ours, self._out), daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def await_text(self, text: str) -> None:
        """Return once the command has printed `text`, on either stream."""
        deadline = time.monotonic() + SECONDS
        while text not in self._so_far():
            assert self._process.poll() is None, f"it ended before it printed {text!r}: {self._so_far()}"
            assert time.monotonic() < deadline, f"waited for {text!r}: {self._so_far()}"
            time.sleep(0.05)

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does."""
        self.send(signal.SIGINT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def done(self) -> CommandResult:
        """Wait for the command to exit."""
        code = self._process.wait(SECONDS)
        if self._reader:
            self._reader.join(SECONDS)
        return CommandResult(code, self._out.read_text(), self._err.read_text())

    def _so_far(self) -> str:
        return self._out.read_text() + self._err.read_text()


def _copy(terminal: int, file: Path) -> None:
    """Copy the output on a terminal to a file until the terminal is closed."""
    with file.open("ab", buffering=0) as out, suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as printed:
        while chunk := printed.read(65536):
            out.write(chunk)
