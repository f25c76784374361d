"""The choices as kubectl takes them."""

from __future__ import annotations

import pytest

from projectsetup.cli import complete_for_kubectl
from projectsetup.cli.app import run
from projectsetup.cli.completion import FILES, NO_FILES, complete


@pytest.fixture(autouse=True)
def _nothing_to_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    for name in ("_PROJECTSETUP_COMPLETE", "_TYPER_COMPLETE_FISH_ACTION", "_TYPER_COMPLETE_ARGS"):
        monkeypatch.setenv(name, "")  # so that they are restored


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["que"], ["queue"]),
        (["queue", ""], ["show", "pause", "resume", "scale"]),
        (["status", "--output", "j"], ["json"]),
        (["status", "--output=y"], ["yaml"]),
        (["recipes", "show", "py"], ["python-service"]),
        (["recipes", "try", "py"], ["python-service"]),
        (["status", "it's"], []),
        (["status", ""], []),
        (["nix", "nix"], []),
    ],
)
def test_each_is_a_line_with_its_description(words: list[str], values: list[str]) -> None:
    assert [line.partition("\t")[0] for line in complete(words, run)] == values


@pytest.mark.parametrize(("words", "last"), [(["qu"], NO_FILES), (["recipes", "lint", "./"], FILES)])
def test_the_last_line_tells_whether_files_are_meant(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], last: str
) -> None:
    monkeypatch.setattr("sys.argv", ["kubectl_complete-projectsetup", *words])
    with pytest.raises(SystemExit, match="0"):
        complete_for_kubectl()
    assert capsys.readouterr().out.splitlines()[-1] == last
