"""Usage errors: one line, exit code 2, before anything is reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from projectsetup.cli.app import PANELS, run
from projectsetup.cli.help_pages import EXAMPLES
from tests.support.command_line import CommandLine, write_kubeconfig
from tests.support.setup_bodies import NAME

NO_ID = "is no project id: a UUID; projectsetup projects list shows those there are"
PREFIX = "annotation setup.codemyspec.com/"


@pytest.fixture(autouse=True)
def _nothing_to_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    monkeypatch.delenv("DATABASE_URL", raising=False)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nix"], "No such command 'nix'; see projectsetup --help"),
        (["queue", "nix"], "No such command 'nix'; see projectsetup queue --help"),
        (["status", "--nix"], "No such option: --nix; see projectsetup status --help"),
        (["setup"], "Missing argument 'ID'; see projectsetup setup --help"),
        (["retry", NAME, "x"], "Got unexpected extra argument(s) (x); see projectsetup retry --help"),
        (
            ["projects", "create", "--name", "x"],
            "Missing option '--code-repo'; see projectsetup projects create --help",
        ),
        (["setup", NAME, "--param"], "Option '--param' requires an argument."),
        (
            ["status", "-o", "xml"],
            "Invalid value for '--output' / '-o': 'xml' is not one of 'table', 'json', 'yaml', 'name'.",
        ),
        (["status", "-n", "../x"], "Invalid value for '--namespace' / '-n': '../x' is no name of a namespace"),
        (["status", "-n", ""], "Invalid value for '--namespace' / '-n': '' is no name of a namespace"),
        (["status", "-A", NAME], "Invalid value for '--all-namespaces': shows all setups, so it takes no ID"),
        (
            ["status", "-A", "-n", "x"],
            "Invalid value for '--all-namespaces': names no namespace, so it goes without --namespace",
        ),
        (["setup", NAME, "--param", "x"], "Invalid value for '--param': 'x' is not of the form name=value"),
        (["setup", NAME, "--param", "=x"], "Invalid value for '--param': '=x' is not of the form name=value"),
        (["setup", NAME, "--param", "a=1", "--param", "a=2"], "Invalid value for '--param': a is given twice"),
        (["setup", NAME, "--timeout", "5m"], "Invalid value for '--timeout': is of use only with --wait"),
        (
            ["setup", NAME, "--wait", "--timeout", "soon"],
            "Invalid value for '--timeout': 'soon' is not a duration greater than 0 such as 90s, 1m30s or 2h",
        ),
        (
            ["setup", NAME, "--priority", "10"],
            f"Invalid value for '--priority': {PREFIX}priority is '10': allowed is 0 to 9, 0 first",
        ),
        (
            ["setup", NAME, "--priority", "-1"],
            f"Invalid value for '--priority': {PREFIX}priority is '-1': allowed is 0 to 9, 0 first",
        ),
        (
            ["setup", NAME, "--max-attempts", "0"],
            f"Invalid value for '--max-attempts': {PREFIX}max-attempts is '0': allowed is 1 to 20",
        ),
        (
            ["setup", NAME, "--max-attempts", "21"],
            f"Invalid value for '--max-attempts': {PREFIX}max-attempts is '21': allowed is 1 to 20",
        ),
        (
            ["setup", NAME, "--backoff", "0s"],
            f"Invalid value for '--backoff': {PREFIX}backoff is '0s': allowed is a duration greater than 0 such as",
        ),
        (["recipes", "list", "--recipes-dir", "/nix"], "Invalid value for '--recipes-dir' (env var: "),
        (["queue", "scale", "-1"], "No such option: -1; see projectsetup queue scale --help"),
        (["queue", "scale", "1001"], "concurrency is '1001': a number from 0 to 1000 is allowed"),
        (["queue", "scale", "many"], "concurrency is 'many': a number from 0 to 1000 is allowed"),
        (["setup", NAME, "-n", "x\x1b[2J\ny"], "Invalid value for '--namespace' / '-n': "),
    ],
)
def test_each_is_one_line(cli: CommandLine, arguments: list[str], line: str) -> None:
    assert cli.refused(2, *arguments).startswith(line)


@pytest.mark.parametrize(
    "command", [["setup"], ["status"], ["retry"], ["cancel"], ["projects", "get"], ["projects", "delete"]]
)
@pytest.mark.parametrize("text", ["app", "../x", NAME[:-1], NAME + "0", "{" + NAME + "}", NAME.replace("-", "")])
def test_an_id_is_a_uuid(cli: CommandLine, command: list[str], text: str) -> None:
    assert cli.refused(2, *command, text) == f"Invalid value for 'ID': {text!r} {NO_ID}"


@pytest.mark.parametrize(
    "arguments", [["setup", NAME.upper()], ["status", NAME], ["retry", NAME], ["cancel", NAME], ["queue", "show"]]
)
def test_a_kubeconfig_that_is_not_there_is_named(cli: CommandLine, arguments: list[str]) -> None:
    assert cli.refused(2, *arguments) == "kubeconfig /nonexistent cannot be used: there is no such file"


def test_file_and_context_may_be_options(cli: CommandLine, tmp_path: Path) -> None:
    file = write_kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
    line = cli.refused(2, "status", "--kubeconfig", file, "--context", "nix")
    assert line == f"kubeconfig {file} has no context nix; it has c"
    assert "Cannot connect to host 127.0.0.1:1 " in cli.refused(
        3, "queue", "show", "--kubeconfig", file, "--context", "c"
    )


@pytest.mark.parametrize("kind", ["projectsetup.codemyspec.com", "psetup", "project"])
def test_an_id_may_be_as_o_name_prints_it(cli: CommandLine, kind: str) -> None:
    assert cli.refused(2, "retry", f"{kind}/{NAME}") == "kubeconfig /nonexistent cannot be used: there is no such file"
    assert NO_ID in cli.refused(2, "retry", f"job/{NAME}")


@pytest.mark.parametrize("arguments", [["migrate"], ["projects", "list"], ["projects", "get", NAME]])
def test_a_database_url_that_is_not_set_is_asked_for(cli: CommandLine, arguments: list[str]) -> None:
    line = cli.refused(2, *arguments)
    assert (
        line
        == "DATABASE_URL is not set: it must look like postgresql://user:password@host:5432/database?sslmode=verify-full"
    )


@pytest.mark.parametrize(
    "url", ["mysql://u:geheim@h/d", "geheim", "postgresql://u:geheim@/d", "postgresql://u:ge@heim@h/d"]
)
def test_a_bad_database_url_is_not_repeated(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    for arguments in (["migrate"], ["projects", "list"]):
        line = cli.refused(2, *arguments)
        assert "geheim" not in line
        assert "heim" not in line


def test_settings_of_the_operator_are_checked_at_its_start(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.refused(2, "operator") == "DATABASE_URL is not set, and it is required"
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:geheim@h/d")
    monkeypatch.setenv("PROJECTSETUP_CONCURRENCY", "many")
    line = cli.refused(2, "operator")
    assert line.startswith("PROJECTSETUP_CONCURRENCY=many: ")
    assert "geheim" not in line


@pytest.mark.parametrize("arguments", [[], ["projects"], ["recipes"], ["queue"]])
def test_no_command_shows_the_help(cli: CommandLine, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert (done.code, done.err) == (2, "")
    assert "Usage: projectsetup" in done.out


def test_the_help_names_every_command_and_the_exit_codes(cli: CommandLine) -> None:
    out = cli.ok("--help").out
    for name in ("setup", "status", "retry", "cancel", "projects", "recipes", "queue", "operator", "migrate", "crd"):
        assert f"│ {name} " in out
    assert "0 done, 1 the setup failed (--wait), 2 usage or bad input" in " ".join(out.split())


def test_the_commands_stand_in_the_order_of_their_panels(cli: CommandLine) -> None:
    out = cli.ok("--help").out
    assert sorted(PANELS, key=lambda panel: out.index(f"─ {panel} ─")) == list(PANELS)


def test_examples_begin_as_it_was_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--help"], called_as="projectsetup") == 0
    assert " projectsetup status --watch" in capsys.readouterr().out
    assert run(["status", "--help"], called_as="kubectl-projectsetup") == 0
    assert " kubectl projectsetup status --watch" in capsys.readouterr().out


def test_every_example_is_of_a_command_that_there_is(cli: CommandLine) -> None:
    for words in EXAMPLES:
        assert "Examples:" in cli.ok(*words.split(), "--help").out


def test_as_a_kubectl_plugin_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["nix"], called_as="/usr/local/bin/kubectl-projectsetup") == 2
    assert capsys.readouterr().err == "error: No such command 'nix'; see kubectl projectsetup --help\n"
    assert run(["--install-completion"], called_as="kubectl-projectsetup") == 2
    assert capsys.readouterr().err.startswith("error: No such option: --install-completion")
