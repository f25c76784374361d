"""The setup of a project, with a fake runner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.recipes.model import Recipe
from projectsetup.setup.credentials import GitCredentials, HttpsLogin, SshKey
from projectsetup.setup.output import IGNORED_PREFIX
from projectsetup.setup.steps import setup_project
from projectsetup.setup.types import (
    InfrastructureError,
    Progress,
    SetupFailed,
    SetupOutcome,
    SetupProject,
    SetupStopped,
    SetupSucceeded,
    StepCommand,
    StepExit,
)

PROJECT = SetupProject(UUID(int=7), "Name", "name", "", "https://code.example/x", "https://docs.example/x")
THIRD = {"name": "third", "status": "committing", "run": "three", "credentials": True}
STEPS = [
    {"name": "first", "status": "initializing", "run": "one", "timeout": "5s"},
    {"name": "second", "status": "compiling", "run": "two", "env": {"LANG": "C", "MORE": "1"}},
    {**THIRD, "retry": {"output": ["Connection reset"]}},
]
RECIPE = Recipe.model_validate(
    {"name": "three", "image": "x", "parameters": {"colour": {"default": "red"}}, "steps": STEPS}
)
CREDENTIALS = GitCredentials(HttpsLogin("bob", "hunter2"), SshKey("KEY\n", "HOSTS\n"))
OPERATOR = {"PATH": "/bin", "DATABASE_URL": "x", "HTTPS_PROXY": "http://u:pr0xy@p:1"}
A, B = "a" * 40, "b" * 40


@dataclass
class FakeRunner:
    """Ends steps as given in `ends`; all others succeed."""

    ends: dict[str, StepExit] = field(default_factory=dict)
    prints: dict[str, bytes] = field(default_factory=dict)
    commands: list[StepCommand] = field(default_factory=list)
    updates: list[Progress] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)
    workspace: Path = Path("/w")
    private: Path = Path("/p")

    async def run(self, command: StepCommand, on_output: Callable[[bytes], None]) -> StepExit:
        self.commands.append(command)
        on_output(self.prints.get(command.step, b""))
        return self.ends.get(command.step, StepExit(exit_code=0))

    async def set_up(
        self,
        *,
        credentials: GitCredentials | None = CREDENTIALS,
        time_limit: float = 1800,
        operator: dict[str, str] | None = None,
        traceparents: dict[str, str] | None = None,
    ) -> SetupOutcome:
        return await setup_project(
            PROJECT,
            RECIPE,
            self.updates.append,
            runner=self,
            attempt=3,
            parameters={"colour": "blue"},
            time_limit=time_limit,
            operator_environment=operator or OPERATOR,
            credentials=credentials,
            on_line=lambda step, line: self.lines.append((step, line)),
            traceparents=traceparents,
        )

    @property
    def ran(self) -> list[str]:
        return [command.step for command in self.commands]


async def test_all_steps_run_in_order_and_report_progress() -> None:
    first, third = f"CODE_COMMIT={B}".encode(), f"CODE_COMMIT={A}\nDOCS_COMMIT={B}\n".encode()
    runner = FakeRunner({"first": StepExit(0, outputs=first), "third": StepExit(0, outputs=third)})
    assert await runner.set_up() == SetupSucceeded(A, B)
    assert runner.ran == ["first", "second", "third"]
    assert runner.updates == [
        Progress("initializing", "first", 0, 3),
        Progress("compiling", "second", 1, 3),
        Progress("committing", "third", 2, 3),
        Progress("committing", "third", 3, 3),
    ]


async def test_an_invalid_line_of_outputs_is_logged() -> None:
    outputs = f"CODE_COMMIT=abc1234\nDOCS_COMMIT={B}\nhunter2\n".encode()
    runner = FakeRunner({"first": StepExit(0, outputs=outputs)}, {"first": b"no line end"})
    assert await runner.set_up() == SetupSucceeded(None, B)
    assert runner.lines[:3] == [
        ("first", "no line end"),
        ("first", f"{IGNORED_PREFIX}CODE_COMMIT=abc1234"),
        ("first", f"{IGNORED_PREFIX}***"),
    ]


async def test_it_stops_at_the_first_step_that_fails() -> None:
    runner = FakeRunner({"second": StepExit(2)}, {"second": b"hello\nno hunter2, no pr0xy here\n"})
    assert await runner.set_up() == SetupFailed(
        "second", 2, "step second failed with exit code 2: hello | no ***, no *** here"
    )
    assert runner.ran == ["first", "second"]
    assert runner.updates[-1] == Progress("compiling", "second", 1, 3)
    assert runner.lines == [("second", "hello"), ("second", "no ***, no *** here")]


async def test_an_infrastructure_failure_is_an_exception_without_secrets() -> None:
    runner = FakeRunner({"third": StepExit(128)}, {"third": b"Connection reset by hunter2\n"})
    with pytest.raises(InfrastructureError) as caught:
        await runner.set_up()
    assert caught.value.reason is Reason.STEP_TRANSIENT
    assert (caught.value.step, caught.value.exit_code) == ("third", 128)
    assert "Connection reset by ***" in caught.value.message
    assert "hunter2" not in caught.value.message


async def test_a_traced_step_finds_its_traceparent_and_no_other() -> None:
    runner = FakeRunner()
    await runner.set_up(traceparents={"first": "00-1", "third": "00-3"})
    assert [command.environment.get("TRACEPARENT") for command in runner.commands] == ["00-1", None, "00-3"]
    runner = FakeRunner()
    await runner.set_up(operator={**OPERATOR, "TRACEPARENT": "of the operator"})
    assert [command.environment.get("TRACEPARENT") for command in runner.commands] == [None, None, None]


async def test_the_commands_of_steps_and_only_one_that_asks_for_credentials_sees_them() -> None:
    runner = FakeRunner()
    await runner.set_up()
    first, second, third = runner.commands
    assert (first.script, first.timeout, third.timeout) == ("one", 5.0, 600.0)
    assert first.following == second, "it may start as soon as the first has succeeded"
    assert (second.following, third.following) == (None, None), "credentials are prepared for their step alone"
    given = {"PARAM_COLOUR": "blue", "ATTEMPT": "3", "WORKSPACE": "/w", "GIT_ALLOW_PROTOCOL": "https:ssh"}
    assert given.items() <= first.environment.items()
    assert "DATABASE_URL" not in first.environment
    assert (second.environment["LANG"], second.environment["MORE"]) == ("C", "1")
    for command in (first, second):
        assert not any("hunter2" in value for value in command.environment.values())
        assert command.private_files == {}
    assert third.environment["PROJECT_GIT_PASSWORD"] == "hunter2"
    assert "/p/key" in third.environment["GIT_SSH_COMMAND"]
    assert third.private_files == {"key": "KEY\n", "known_hosts": "HOSTS\n"}
    assert "hunter2" not in repr(third)


async def test_the_timeout_of_the_attempt_limits_its_steps() -> None:
    runner = FakeRunner({"second": StepExit(signal=15, timed_out=True)})
    with pytest.raises(InfrastructureError, match="the attempt timed out after 1m, during step sec"):
        await runner.set_up(time_limit=60)
    assert runner.commands[0].timeout == 5.0
    assert 0 < runner.commands[1].timeout <= 60


async def test_no_step_starts_after_the_timeout() -> None:
    runner = FakeRunner()
    with pytest.raises(InfrastructureError, match="during step first") as caught:
        await runner.set_up(time_limit=1e-6)
    assert caught.value.reason is Reason.STEP_TIMED_OUT
    assert runner.commands == []


@pytest.mark.parametrize(("step", "code", "ran"), [("second", 0, 2), ("second", 1, 2), ("third", 1, 3)])
async def test_a_stop_ends_the_setup_unless_the_last_step_succeeds(step: str, code: int, ran: int) -> None:
    runner = FakeRunner({step: StepExit(code, stopped=True)})
    with pytest.raises(SetupStopped):
        await runner.set_up()
    assert len(runner.ran) == ran
    assert await FakeRunner({"third": StepExit(0, stopped=True)}).set_up() == SetupSucceeded()


@pytest.mark.parametrize("credentials", [CREDENTIALS, None])
async def test_a_step_with_credentials_has_a_home_that_no_earlier_step_could_write(
    credentials: GitCredentials | None,
) -> None:
    runner = FakeRunner()
    operator = {"PATH": "/w/bin::bin:/usr/bin:/v/../w/x:/wide", "UV_CACHE_DIR": "/cache", "GIT_SSL_CAINFO": "/ca"}
    await runner.set_up(credentials=credentials, operator=operator)
    first, _, third = runner.commands
    assert (first.environment["HOME"], first.environment["TMPDIR"]) == ("/w/.home", "/w/.tmp")
    assert first.environment["UV_CACHE_DIR"] == "/cache"
    assert first.private_folders == ()
    assert third.private_folders == ("home", "tmp")
    own = {"HOME": "/p/home", "TMPDIR": "/p/tmp", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    assert (own | {"WORKSPACE": "/w", "GIT_SSL_CAINFO": "/ca"}).items() <= third.environment.items()
    assert third.environment["PATH"].partition(":")[2] == "/usr/bin:/wide"
    assert "UV_CACHE_DIR" not in third.environment
