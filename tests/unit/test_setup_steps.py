"""The setup of a project over a runner that is told how each step ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.recipes.model import Recipe
from projectsetup.setup.credentials import GitCredentials, HttpsLogin, SshKey
from projectsetup.setup.errors import InfrastructureError, SetupStopped
from projectsetup.setup.outcome import SetupFailed, SetupOutcome, SetupSucceeded
from projectsetup.setup.outputs import IGNORED
from projectsetup.setup.project import SetupProject
from projectsetup.setup.runner import StepCommand, StepExit
from projectsetup.setup.steps import setup_project
from projectsetup.setup.updates import Progress

PROJECT = SetupProject(UUID(int=7), "Name", "name", "", "https://code.example/x", "https://docs.example/x")
RECIPE = Recipe.model_validate(
    {
        "name": "three",
        "image": "x",
        "parameters": {"colour": {"default": "red"}},
        "steps": [
            {"name": "first", "status": "initializing", "run": "one", "timeout": "5s"},
            {"name": "second", "status": "compiling", "run": "two", "env": {"LANG": "C", "MORE": "1"}},
            {
                "name": "third",
                "status": "committing",
                "run": "three",
                "credentials": True,
                "retry": {"output": ["Connection reset"]},
            },
        ],
    }
)
CREDENTIALS = GitCredentials(HttpsLogin("bob", "hunter2"), SshKey("KEY\n", "HOSTS\n"))
OPERATOR = {"PATH": "/bin", "DATABASE_URL": "x", "HTTPS_PROXY": "http://u:pr0xy@p:1"}
A, B = "a" * 40, "b" * 40


@dataclass
class Told:
    """Ends steps as it is told; all others succeed."""

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
        )

    @property
    def ran(self) -> list[str]:
        return [command.step for command in self.commands]


async def test_all_steps_run_in_order_and_every_update_is_told() -> None:
    told = Told(
        {
            "first": StepExit(0, outputs=f"CODE_COMMIT={B}".encode()),
            "third": StepExit(0, outputs=f"CODE_COMMIT={A}\nDOCS_COMMIT={B}\n".encode()),
        }
    )
    assert await told.set_up() == SetupSucceeded(A, B)
    assert told.ran == ["first", "second", "third"]
    assert told.updates == [
        Progress("initializing", "first", 0, 3),
        Progress("compiling", "second", 1, 3),
        Progress("committing", "third", 2, 3),
        Progress("committing", "third", 3, 3),
    ]


async def test_a_line_of_outputs_that_is_not_understood_is_named_in_the_log() -> None:
    outputs = f"CODE_COMMIT=abc1234\nDOCS_COMMIT={B}\nhunter2\n".encode()
    told = Told({"first": StepExit(0, outputs=outputs)}, {"first": b"no line end"})
    assert await told.set_up() == SetupSucceeded(None, B)
    assert told.lines[:3] == [
        ("first", "no line end"),
        ("first", f"{IGNORED}CODE_COMMIT=abc1234"),
        ("first", f"{IGNORED}***"),
    ]


async def test_it_stops_at_the_first_step_that_fails() -> None:
    told = Told({"second": StepExit(2)}, {"second": b"hello\nno hunter2, no pr0xy here\n"})
    assert await told.set_up() == SetupFailed(
        "second", 2, "step second failed with exit code 2: hello | no ***, no *** here"
    )
    assert told.ran == ["first", "second"]
    assert told.updates[-1] == Progress("compiling", "second", 1, 3)
    assert told.lines == [("second", "hello"), ("second", "no ***, no *** here")]


async def test_an_infrastructure_failure_is_an_exception_without_secrets() -> None:
    told = Told({"third": StepExit(128)}, {"third": b"Connection reset by hunter2\n"})
    with pytest.raises(InfrastructureError) as caught:
        await told.set_up()
    assert caught.value.reason is Reason.STEP_TRANSIENT
    assert (caught.value.step, caught.value.exit_code) == ("third", 128)
    assert "Connection reset by ***" in caught.value.message
    assert "hunter2" not in caught.value.message


async def test_output_counts_only_when_the_step_fails() -> None:
    told = Told(prints={"third": b"Connection reset, trying again\nfine\n"})
    assert await told.set_up() == SetupSucceeded()


async def test_what_a_step_is_given() -> None:
    told = Told()
    await told.set_up()
    first, second, third = told.commands
    assert (first.script, first.timeout) == ("one", 5.0)
    assert first.environment["PARAM_COLOUR"] == "blue"
    assert first.environment["ATTEMPT"] == "3"
    assert first.environment["WORKSPACE"] == "/w"
    assert first.environment["GIT_ALLOW_PROTOCOL"] == "https:ssh"
    assert "DATABASE_URL" not in first.environment
    assert (second.environment["LANG"], second.environment["MORE"]) == ("C", "1")
    assert third.timeout == 600.0


async def test_only_a_step_that_asks_for_credentials_sees_them() -> None:
    told = Told()
    await told.set_up()
    first, second, third = told.commands
    for command in (first, second):
        assert not any("hunter2" in value for value in command.environment.values())
        assert command.private_files == {}
    assert third.environment["PROJECT_GIT_PASSWORD"] == "hunter2"
    assert "/p/key" in third.environment["GIT_SSH_COMMAND"]
    assert third.private_files == {"key": "KEY\n", "known_hosts": "HOSTS\n"}
    assert "hunter2" not in repr(third)


async def test_the_attempts_timeout_limits_its_steps() -> None:
    told = Told({"second": StepExit(signal=15, timed_out=True)})
    with pytest.raises(
        InfrastructureError, match="the attempt did not end within its timeout of 1m; it was at step sec"
    ):
        await told.set_up(time_limit=60)
    assert told.commands[0].timeout == 5.0
    assert 0 < told.commands[1].timeout <= 60


async def test_a_step_is_not_begun_when_the_time_is_over() -> None:
    told = Told()
    with pytest.raises(InfrastructureError, match="it was at step first") as caught:
        await told.set_up(time_limit=1e-6)
    assert caught.value.reason is Reason.STEP_TIMED_OUT
    assert told.commands == []


async def test_a_stop_ends_the_setup_even_when_the_step_was_fast_enough() -> None:
    told = Told({"second": StepExit(0, stopped=True)})
    with pytest.raises(SetupStopped):
        await told.set_up()
    assert told.ran == ["first", "second"]


async def test_a_step_that_fails_when_it_is_stopped_is_no_business_failure() -> None:
    with pytest.raises(SetupStopped):
        await Told({"third": StepExit(1, stopped=True)}).set_up()


async def test_the_last_steps_success_wins_over_a_stop() -> None:
    assert await Told({"third": StepExit(0, stopped=True)}).set_up() == SetupSucceeded()


@pytest.mark.parametrize("credentials", [CREDENTIALS, None])
async def test_a_step_with_credentials_has_a_home_that_no_step_before_it_could_write(
    credentials: GitCredentials | None,
) -> None:
    told = Told()
    operator = {"PATH": "/w/bin::bin:/usr/bin:/v/../w/x:/wide", "UV_CACHE_DIR": "/cache", "GIT_SSL_CAINFO": "/ca"}
    await told.set_up(credentials=credentials, operator=operator)
    first, _, third = told.commands
    assert (first.environment["HOME"], first.environment["TMPDIR"]) == ("/w/.home", "/w/.tmp")
    assert first.environment["UV_CACHE_DIR"] == "/cache"
    assert first.private_folders == ()
    assert (third.environment["HOME"], third.environment["TMPDIR"]) == ("/p/home", "/p/tmp")
    assert third.private_folders == ("home", "tmp")
    assert third.environment["GIT_CONFIG_GLOBAL"] == "/dev/null"
    assert third.environment["GIT_CONFIG_NOSYSTEM"] == "1"
    assert third.environment["PATH"].partition(":")[2] == "/usr/bin:/wide"
    assert third.environment["WORKSPACE"] == "/w"
    assert third.environment["GIT_SSL_CAINFO"] == "/ca"
    assert "UV_CACHE_DIR" not in third.environment
