"""The generator's command line: a template of somebody's own, and what it refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from projectsetup.recipes.generator.__main__ import main

COPIER = """\
_subdirectory: files
_jinja_extensions: [projectsetup.recipes.generator.filters.Filters]
name: {type: str}
team: {type: str}
token_auth: {type: bool}
"""


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A template of two files; the workspace is the working directory."""
    for folder, text in (("code", "{{ name | json_string }} {{ team }} {{ token_auth }}\n"), ("docs", "# Docs\n")):
        (tmp_path / "template" / "files" / folder).mkdir(parents=True)
        (tmp_path / "template" / "files" / folder / "README.md.jinja").write_text(text)
    (tmp_path / "template" / "copier.yml").write_text(COPIER)
    (tmp_path / "workspace").mkdir()
    monkeypatch.chdir(tmp_path / "workspace")
    variables = {"NAME": 'The "{{ 7*7 }}"', "SLUG": "the"}
    for name, value in variables.items():
        monkeypatch.setenv(f"PROJECT_{name}", value)
    monkeypatch.setenv("CODE_REPO", "https://git.example.com/team/the.git")
    monkeypatch.setenv("PARAM_TEAM", "payments")
    monkeypatch.setenv("PARAM_BRANCH", "trunk")
    return str(tmp_path / "template")


def test_a_template_of_ones_own_gets_the_parameters_and_is_committed(template: str, tmp_path: Path) -> None:
    code = tmp_path / "workspace" / "code"
    for command, auth in (("generate", False), ("auth", True)):
        assert main([command, template]) == 0
        assert (code / "README.md").read_text() == f'"The \\"{{{{ 7*7 }}}}\\"" payments {auth}\n'
    assert main(["commit"]) == 0
    log = ["git", "-C", str(code), "log", "--format=%s|%an|%cI", "trunk"]
    shown = subprocess.run(log, capture_output=True, text=True, check=True).stdout
    assert shown == 'Set up The "{{ 7*7 }}"|Project Setup|2025-01-01T00:00:00+00:00\n'


@pytest.mark.parametrize("arguments", [[], ["generate"], ["commit", "x"], ["push"]])
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err == "expected one of: generate TEMPLATE, auth TEMPLATE, commit\n"


def test_a_missing_variable_and_an_unknown_license_are_one_line(
    template: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARAM_LICENSE", "../x")
    assert main(["generate", template]) == 1
    assert capsys.readouterr().err.startswith("generate: there is no text of the license '../x'; there is Apache-2.0, ")
    monkeypatch.delenv("PROJECT_NAME")
    assert main(["generate", template]) == 1
    assert capsys.readouterr().err.startswith("generate: the variable PROJECT_NAME is not set")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one\n{{ nosuch }}", "README.md.jinja, line 2: 'nosuch' is undefined"),
        ("{{ name", "README.md.jinja, line 1: unexpected end of template, expected 'end of print statement'."),
    ],
)
def test_a_fault_of_a_template_is_one_line_with_its_place(
    template: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    file = tmp_path / "template" / "files" / "code" / "README.md.jinja"
    file.write_text(text)
    assert main(["generate", template]) == 1
    assert capsys.readouterr().err == f"generate: {file.parent}/{message}\n"


@pytest.mark.usefixtures("template")
@pytest.mark.parametrize(
    ("folders", "docs_repo", "message"),
    [
        (("code", "docs"), "x", None),
        (("code",), "", None),
        (("code",), "x", "commit: docs: no such folder; create it in an earlier step\n"),
        (("docs",), "", "commit: code: no such folder; create it in an earlier step\n"),
    ],
)
def test_a_missing_folder_is_a_fault_of_the_recipe_unless_the_project_has_no_such_repository(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folders: tuple[str, ...],
    docs_repo: str,
    message: str | None,
) -> None:
    monkeypatch.setenv("DOCS_REPO", docs_repo)
    for folder in map(Path, folders):
        folder.mkdir()
        (folder / "run").write_text("x")
        (folder / "run").chmod(0o755)
    assert main(["commit"]) == (1 if message else 0)
    assert capsys.readouterr().err == (message or "")
    if message is None:
        listed = subprocess.run(["git", "-C", "code", "ls-tree", "HEAD"], capture_output=True, text=True, check=True)
        assert listed.stdout.startswith("100755 "), "the executable bit is lost"


def test_a_folder_without_files_and_a_bad_branch_are_one_line(
    template: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("code").mkdir()
    Path("code", ".gitignore").write_text("*")
    assert main(["commit"]) == 1
    nothing = "code: there is nothing to commit: no file, or .gitignore names all of them"
    assert capsys.readouterr().err == f"commit: {nothing}\n"
    monkeypatch.setenv("PARAM_BRANCH", "a.lock")
    assert main(["generate", template]) == 1
    assert capsys.readouterr().err == "generate: 'a.lock' is not a valid branch name\n"
