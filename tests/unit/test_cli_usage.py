"""Usage errors are one line with exit code 2, before anything is reached; help names every command."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.main import get_command

from projectsetup.cli.app import app, run
from projectsetup.cli.options import project
from tests.support.command_line import CommandLine, write_kubeconfig
from tests.support.setup_bodies import NAME

NO_FILE = "kubeconfig /nonexistent cannot be used: no such file"
NO_URL = "DATABASE_URL is not set (expected postgresql://user:password@host:5432/database?sslmode=verify-full)"
BAD, ANNOTATION = "Invalid value for", "annotation setup.codemyspec.com/"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return CommandLine(capsys)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("nix", "No such command 'nix'; see projectsetup --help"),
        ("queue nix", "No such command 'nix'; see projectsetup queue --help"),
        ("status --nix", "No such option: --nix; see projectsetup status --help"),
        ("setup", "Missing argument 'ID'; see projectsetup setup --help"),
        ("retry ID x", "Got unexpected extra argument(s) (x); see projectsetup retry --help"),
        ("projects create --name x", "Missing option '--code-repo'; see projectsetup projects create --help"),
        ("setup ID --param", "Option '--param' requires an argument."),
        ("status -o xml", f"{BAD} '--output' / '-o': 'xml' is not one of 'table', 'json', 'yaml', 'name'."),
        ("status -n ../x", f"{BAD} '--namespace' / '-n': '../x' is not a valid namespace name"),
        ("status -n ''", f"{BAD} '--namespace' / '-n': '' is not a valid namespace name"),
        ("setup ID -n 'x\x1b[2J\ny'", f"{BAD} '--namespace' / '-n': "),
        ("status -A ID", NO_FILE),
        ("status -A -n x", f"{BAD} '--all-namespaces': cannot be combined with --namespace"),
        ("setup ID --param x", f"{BAD} '--param': 'x' is not of the form NAME=VALUE"),
        ("setup ID --param =x", f"{BAD} '--param': '=x' is not of the form NAME=VALUE"),
        ("setup ID --param a=1 --param a=2", f"{BAD} '--param': parameter a is given more than once"),
        ("setup ID --timeout 5m", f"{BAD} '--timeout': requires --wait"),
        ("setup ID --wait --timeout soon", f"{BAD} '--timeout': 'soon' is not a duration greater than 0 such as 90s,"),
        ("setup ID --priority 10", f"{BAD} '--priority': {ANNOTATION}priority is '10': "),
        ("setup ID --priority -1", f"{BAD} '--priority': {ANNOTATION}priority is '-1': "),
        ("setup ID --max-attempts 0", f"{BAD} '--max-attempts': {ANNOTATION}max-attempts is '0': "),
        ("setup ID --max-attempts 21", f"{BAD} '--max-attempts': {ANNOTATION}max-attempts is '21': "),
        ("setup ID --backoff 0s", f"{BAD} '--backoff': {ANNOTATION}backoff is '0s': "),
        ("recipes list --recipes-dir /nix", f"{BAD} '--recipes-dir' (env var: "),
        ("queue scale -1", "No such option: -1; see projectsetup queue scale --help"),
        ("queue scale 1001", "concurrency is '1001': "),
        ("queue scale many", "concurrency is 'many': "),
        ("migrate", NO_URL),
        ("projects list", NO_URL),
        ("projects get ID", NO_URL),
        (f"setup {NAME.upper()}", NO_FILE),
        ("status ID", NO_FILE),
        ("cancel ID", NO_FILE),
        ("queue show", NO_FILE),
        ("operator", "DATABASE_URL is required and not set"),
        *((f"retry {kind}/ID", NO_FILE) for kind in ("projectsetup.codemyspec.com", "psetup", "project")),
        ("retry 'x\x1b[2J'", f"{BAD} 'ID': a project's name contains no U+001B"),
        (
            "projects create --id x --name N --code-repo U",
            f"{BAD} '--id': 'x' is not a project id (expected a UUID)",
        ),
    ],
)
def test_a_usage_error_is_one_line(cli: CommandLine, arguments: str, line: str) -> None:
    words = [NAME if word == "ID" else word.replace("/ID", f"/{NAME}").strip("'") for word in arguments.split(" ")]
    assert cli.refused(2, *words).startswith(line)


@pytest.mark.parametrize("text", [NAME, NAME.upper(), f"project/{NAME}", f"projectsetup.codemyspec.com/{NAME}"])
def test_a_uuid_is_an_id(text: str) -> None:
    assert project(text).id == UUID(NAME)


@pytest.mark.parametrize(
    "text", ["app", "../x", "-x", NAME[:-1], NAME + "0", "{" + NAME + "}", NAME.replace("-", ""), f"job/{NAME}"]
)
def test_any_other_text_is_a_name(text: str) -> None:
    assert (project(text).id, project(text).name) == (None, text)


def test_kubeconfig_and_context_are_options(cli: CommandLine, tmp_path: Path) -> None:
    file = write_kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
    line = cli.refused(2, "status", "--kubeconfig", file, "--context", "nix")
    assert line == f"kubeconfig {file} has no context nix; it has c"
    shown = cli.refused(3, "queue", "show", "--kubeconfig", file, "--context", "c")
    assert "Cannot connect to host 127.0.0.1:1 " in shown


@pytest.mark.parametrize(
    "url", ["mysql://u:geheim@h/d", "geheim", "postgresql://u:geheim@/d", "postgresql://u:ge@heim@h/d"]
)
def test_a_bad_database_url_is_not_repeated(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    for arguments in (["migrate"], ["projects", "list"]):
        assert "heim" not in cli.refused(2, *arguments)


def test_a_bad_setting_of_the_operator_is_named_without_secrets(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:geheim@h/d")
    monkeypatch.setenv("PROJECTSETUP_CONCURRENCY", "many")
    line = cli.refused(2, "operator")
    assert line.startswith("PROJECTSETUP_CONCURRENCY=many: ")
    assert "geheim" not in line


def test_the_help_names_every_command_in_panels_and_the_exit_codes(cli: CommandLine) -> None:
    out = cli.ok("--help").out
    panels = (
        ("Setups", "setup", "status", "retry", "cancel", "dashboard"),
        ("Projects and recipes", "projects", "recipes"),
        ("Operator", "queue", "operator", "migrate", "crd"),
    )
    shown = [f"─ {name} ─" if names[0] == name else f"│ {name} " for names in panels for name in names]
    places = [out.index(text) for text in shown]
    assert places == sorted(places)
    assert "0 done, 1 the setup failed (--wait), 2 usage or bad input" in " ".join(out.split())


def test_every_example_is_of_its_own_command(cli: CommandLine) -> None:
    def check(command: Any, path: list[str]) -> None:
        examples = (command.epilog or "").splitlines()
        assert examples[:1] in ([], ["Examples:"])
        for example in examples[1:]:
            assert example.split()[: len(path)] == path
        for name, inner in getattr(command, "commands", {}).items():
            check(inner, [*path, name])

    check(get_command(app), ["projectsetup"])
    assert " projectsetup status --watch" in cli.ok("status", "--help").out


def test_the_kubectl_plugin_calls_itself_so(capsys: pytest.CaptureFixture[str]) -> None:
    plugin = "/usr/local/bin/kubectl-projectsetup"

    assert run(["status", "--help"], called_as=plugin) == 0
    assert " kubectl projectsetup status --watch" in capsys.readouterr().out
    assert run(["nix"], called_as=plugin) == 2
    assert capsys.readouterr().err == "error: No such command 'nix'; see kubectl projectsetup --help\n"
    assert run(["--install-completion"], called_as=plugin) == 2
    assert capsys.readouterr().err.startswith("error: No such option: --install-completion")
