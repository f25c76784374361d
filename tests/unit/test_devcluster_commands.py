"""`python -m devcluster`: bad usage is one line and exit code 2, a failure is one line and exit code 3."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster.__main__ import main
from devcluster.files import write_private
from devcluster.state import State


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["up"], "arguments are required: --dir"),
        (["stop", "--dir", "d", "kube-proxy"], "invalid choice: 'kube-proxy'"),
        (["down", "--dir", "d", "--node"], "unrecognized arguments: --node"),
    ],
)
def test_bad_usage(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    assert code == 2
    assert said.err.startswith("devcluster: ")
    assert line in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.parametrize("arguments", [["stop", "etcd"], ["start", "etcd"], ["down"]])
def test_a_folder_without_a_cluster_is_not_touched(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").mkdir()
    assert main([*arguments, "--dir", str(tmp_path)]) == 3
    assert capsys.readouterr().err == f"devcluster: no devcluster in {tmp_path}: run `up` first\n"
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_the_state_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    state = State.new(fsync=True, made_folder=False)
    state.write(path)
    assert State.read(path) == state
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["cluster.json"]


def test_the_state_of_another_version_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_private(tmp_path / "cluster.json", '{"etcd_port": 1}')
    assert main(["down", "--dir", str(tmp_path)]) == 3
    assert "cluster.json was written by another version: " in capsys.readouterr().err
