"""The command line as tests call it: in this process, or as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from projectsetup.cli.app import run

SECONDS: Final = 60.0
"""Longest time that a command of its own may take."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

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

    def __call__(self, *arguments: object) -> Done:
        """Call one command, whatever comes of it."""
        self._capsys.readouterr()
        code = run([str(argument) for argument in arguments], called_as="projectsetup")
        out, err = self._capsys.readouterr()
        return Done(int(code), out, err)

    def ok(self, *arguments: object) -> Done:
        """Call one command that has to succeed and say nothing on standard error."""
        done = self(*arguments)
        assert (done.code, done.err) == (0, ""), done
        return done

    def refused(self, code: int, *arguments: object) -> str:
        """Call one command that has to end with this exit code, print nothing, and say why in one line: that line."""
        done = self(*arguments)
        assert (done.code, done.out) == (code, ""), done
        return one_error(done.err)


def one_error(err: str) -> str:
    """The text of the one line that standard error has to be."""
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err.removeprefix("error: ").rstrip("\n")


def command(*arguments: str) -> list[str]:
    """The command line of a process of its own."""
    return [sys.executable, "-m", "projectsetup", *arguments]


def environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """The environment of this process with changes; None takes a variable away."""
    merged: dict[str, str | None] = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def process(*arguments: str, **changes: str | None) -> Done:
    """Call one command as a process of its own, its environment changed."""
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=SECONDS, env=environment(changes), check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def write_kubeconfig(path: Path, server: str) -> str:
    """A kubeconfig for a server that asks for a token; its path."""
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
