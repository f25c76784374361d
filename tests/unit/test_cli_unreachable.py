"""Clusters and databases that cannot be reached, and kubeconfigs that cannot be used."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, write_kubeconfig
from tests.support.setup_bodies import NAME

READING = ["status", "status -A -o json", "status ID --watch", "queue show"]
CLUSTER = [*READING, "setup ID", "retry ID", "cancel ID", "queue pause", "queue scale 2"]
RECORD = ["projects list", "projects get ID", "projects delete ID", "migrate"]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:geheim@127.0.0.1:1/d")
    return CommandLine(capsys)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that nobody listens on, and that nobody else gets."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def words(command: str) -> list[str]:
    return [NAME if word == "ID" else word for word in command.split()]


@pytest.mark.parametrize("command", CLUSTER)
def test_a_cluster_that_is_not_there(
    cli: CommandLine, command: str, unused_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{unused_port}"))
    line = cli.refused(3, *words(command))
    assert "Cannot connect to host 127.0.0.1" in line
    assert "geheim" not in line


def test_a_cluster_that_does_not_answer(cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("KUBECONFIG", write_kubeconfig(tmp_path / "config", server))
        assert cli.refused(3, "status") == "list ProjectSetups: no answer in time"


@pytest.mark.parametrize("command", RECORD)
def test_a_database_that_is_not_there(
    cli: CommandLine, command: str, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:geheim@127.0.0.1:{unused_port}/d")
    line = cli.refused(3, *words(command))
    assert line == f"PostgreSQL at 127.0.0.1:{unused_port}/d refuses connections: is it running?"


@pytest.mark.parametrize(
    ("content", "reason", "commands"),
    [
        ("a: [b", "while parsing a flow sequence", CLUSTER),
        *((content, "not a kubeconfig", ["status"]) for content in ("just text", "[1, 2]", "")),
        ("apiVersion: v1\nkind: Config\n", "Invalid kube-config file", ["status"]),
        ("\x00\x01", "unacceptable character", ["status"]),
    ],
)
def test_a_kubeconfig_that_cannot_be_used(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, content: str, reason: str, commands: list[str]
) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(file))
    for command in commands:
        assert cli.refused(2, *words(command)).startswith(f"kubeconfig {file} cannot be used: {reason}")
