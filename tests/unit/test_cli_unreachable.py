"""Clusters and databases that are not there, and kubeconfigs that are none."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, write_kubeconfig
from tests.support.setup_bodies import NAME

READING = [["status"], ["status", "-A", "-o", "json"], ["status", NAME, "--watch"], ["queue", "show"]]
WRITING = [["setup", NAME], ["retry", NAME], ["cancel", NAME], ["queue", "pause"], ["queue", "scale", "2"]]
RECORD = [["projects", "list"], ["projects", "get", NAME], ["projects", "delete", NAME], ["migrate"]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:geheim@127.0.0.1:1/d")
    return CommandLine(capsys)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that nobody listens to, and that nobody else gets."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("arguments", READING + WRITING, ids=" ".join)
def test_a_port_where_no_cluster_is(
    cli: CommandLine, arguments: list[str], unused_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{unused_port}"))
    line = cli.refused(3, *arguments)
    assert "Cannot connect to host 127.0.0.1" in line
    assert "geheim" not in line


def test_a_cluster_that_does_not_answer_is_given_up(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("KUBECONFIG", write_kubeconfig(tmp_path / "config", server))
        assert cli.refused(3, "status") == "list ProjectSetups: no answer in time"


@pytest.mark.parametrize("arguments", RECORD, ids=" ".join)
def test_a_port_where_no_database_is(
    cli: CommandLine, arguments: list[str], unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:geheim@127.0.0.1:{unused_port}/d")
    line = cli.refused(3, *arguments)
    assert line == f"PostgreSQL at 127.0.0.1:{unused_port}/d refuses connections: is it running?"


@pytest.mark.parametrize("arguments", READING + WRITING, ids=" ".join)
def test_a_kubeconfig_that_is_no_yaml(
    cli: CommandLine, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config"
    file.write_text("a: [b")
    monkeypatch.setenv("KUBECONFIG", str(file))
    assert cli.refused(2, *arguments).startswith(f"kubeconfig {file} cannot be used: while parsing a flow sequence")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("just text", "it is no kubeconfig"),
        ("[1, 2]", "it is no kubeconfig"),
        ("", "it is no kubeconfig"),
        ("apiVersion: v1\nkind: Config\n", "Invalid kube-config file"),
        ("\x00\x01", "unacceptable character"),
    ],
)
def test_a_kubeconfig_that_is_none_is_told_in_one_line(
    cli: CommandLine, tmp_path: Path, content: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(file))
    assert cli.refused(2, "status").startswith(f"kubeconfig {file} cannot be used: {reason}")
