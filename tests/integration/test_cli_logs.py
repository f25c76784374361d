"""`logs` and `history`: what people see of attempts that a real operator has run."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, Running
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NO_BACKOFF, Sandbox
from tests.support.setup_handle import Setup

TWICE = {**NO_BACKOFF, "max_attempts": "2"}


@pytest.fixture
def cli(sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line of somebody who may read the database."""
    monkeypatch.setenv("DATABASE_URL", sandbox.database_url)
    return CommandLine(capsys)


def test_the_log_of_an_attempt(sandbox: Sandbox, cli: CommandLine) -> None:
    script = 'echo "attempt $ATTEMPT"; printf "a\\tb \\033[31mred\\033[0m\\n"; echo oops >&2; exit 42'
    setup = Setup.make(sandbox, "scripts", first="seq 3", second=script, annotations=TWICE)
    setup.ended()
    assert cli.ok("logs", setup.name).out == "── first\n1\n2\n3\n── second\nattempt 2\na       b red\noops\n"
    assert cli.ok("logs", setup.name, "--attempt", 1, "--step", "second").out == "attempt 1\na       b red\noops\n"
    assert cli.ok("logs", setup.name, "--tail", 1).out == "── second\noops\n"
    stamped = cli.ok("logs", setup.name, "--step", "first", "--timestamps").out.splitlines()
    assert [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", "", line) for line in stamped] == ["1", "2", "3"]
    lines = cli.ok("logs", setup.name, "-o", "json").out.splitlines()
    assert len(lines) == 6
    assert re.fullmatch(r'\{"attempt": 2, "step": "first", "time": "[^"]+", "line": "1"\}', lines[0])
    assert cli.refused(2, "logs", setup.name, "--attempt", 3) == (
        f"attempt 3 of project {setup.name} ({setup.name}) has no log; there are logs of 1, 2"
    )


def test_a_log_that_was_cut_says_how_much_is_missing(sandbox: Sandbox, cli: CommandLine) -> None:
    setup = Setup.make(sandbox, "scripts", first="seq -f 'line %06.0f' 1 200000")
    setup.ended()
    wait_for(lambda: cli.ok("logs", setup.name, "--tail", 1).out.endswith("line 200000\n"), "the end of the log")
    lines = cli.ok("logs", setup.name, "--step", "first").out.splitlines()
    (gap,) = [line for line in lines if "left out" in line]
    left_out = re.fullmatch(r"… ([\d,]+) lines left out …", gap)
    assert left_out is not None
    assert (lines[0], lines[-1]) == ("line 000001", "line 200000")
    assert int(left_out[1].replace(",", "")) + len(lines) - 1 == 200_000
    before = lines[lines.index(gap) - 1]
    after = lines[lines.index(gap) + 1]
    assert int(after.split()[1]) - int(before.split()[1]) - 1 == int(left_out[1].replace(",", ""))


def test_following_shows_output_as_it_comes_and_ends_with_the_setup(
    sandbox: Sandbox, cli: CommandLine, tmp_path: Path
) -> None:
    wait = 'echo waiting; until [ -e "$PARAM_PLACE/go" ]; do sleep 0.05; done; echo done; exit 1'
    setup = Setup.make(sandbox, "scripts", first=wait, place=str(tmp_path))
    with Running(tmp_path, "logs", setup.name, "--follow") as following:
        following.await_text("waiting")
        (tmp_path / "go").touch()
        done = following.done()
    assert (done.code, done.out) == (1, "── first\nwaiting\ndone\n")
    assert f"attempt 1 of project {setup.name} ({setup.name})" in done.err
    assert f"setup of project {setup.name} ({setup.name}) failed: StepFailed: step first failed" in done.err
    assert cli.ok("history", setup.name)


def test_what_has_no_log(sandbox: Sandbox, cli: CommandLine, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = Setup.make(sandbox, "instant")
    quiet.ended()
    unknown = uuid.uuid4()
    assert "has no log in the database: no step has printed anything" in cli.refused(2, "logs", quiet.name)
    for command in ("logs", "history"):
        assert cli.refused(2, command, unknown) == f"there is no project {unknown}"
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    assert cli.refused(2, "logs", quiet.name, "-n", sandbox.api.namespace) == (
        f"project {quiet.name} has no log in pods; set DATABASE_URL to read the logs that the operator keeps"
    )


def test_the_history_outlives_the_project_setup(sandbox: Sandbox, cli: CommandLine) -> None:
    setup = Setup.make(sandbox, "scripts", first="sleep 0.2", second="exit 42", annotations=TWICE)
    setup.ended()
    sandbox.api.delete(setup.name)
    header, *rows = cli.ok("history", setup.name).out.splitlines()
    assert header.split() == ["ATTEMPT", "STARTED", "TOOK", "OUTCOME", "REASON", "STEP", "MESSAGE"]
    assert [row.split()[0] for row in rows[:2]] == ["1", "2"]
    assert "StepTransient" in rows[0]
    assert re.fullmatch(r"Steps of the last attempt: first \d+\.\ds, second \d+\.\ds", rows[-1])
    first, last = cli.ok("history", setup.name, "-o", "json").json
    assert (first["attempt"], last["attempt"], last["exitCode"], last["engine"]) == (1, 2, 42, "local")
    assert last["steps"][0]["seconds"] >= 0.2
    assert last["queuedAt"] <= last["startedAt"] <= last["finishedAt"]
