"""Steps as real processes: start, end and cleanup."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import stat
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.engines.local.attempt import LocalAttempt
from projectsetup.engines.local.engine import LocalEngine
from projectsetup.setup.types import InfrastructureError, SetupStopped, StepCommand, StepExit
from tests.support.local_steps import ESCAPING, FORKING, PATH, Step, until
from tests.support.processes import children

GRACE = 2.0
Task = asyncio.Task[StepExit]


@pytest.fixture
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalEngine]:
    root = tmp_path_factory.mktemp("work spaces")
    engine = LocalEngine(root, grace=GRACE)
    await engine.start()
    yield engine
    await engine.close()
    assert list(root.iterdir()) == []


@pytest.fixture
async def attempt(engine: LocalEngine) -> AsyncIterator[LocalAttempt]:
    async with engine.open(uuid4(), 1) as attempt:
        yield attempt


def command(script: str, environment: Mapping[str, str] | None = None, *, seconds: float = 60.0) -> StepCommand:
    return StepCommand("test", script, {"PATH": PATH, **(environment or {})}, seconds)


async def printed(attempt: LocalAttempt, script: str, **environment: str) -> str:
    output = bytearray()
    end = await attempt.run(command(script, environment), output.extend)
    assert end == StepExit(exit_code=0)
    return output.decode()


async def ended(attempt: LocalAttempt, script: str, *, seconds: float = 60.0) -> StepExit:
    return await attempt.run(command(script, seconds=seconds), lambda _: None)


def ignored(_: bytes) -> None:
    """The output does not matter."""


@contextlib.asynccontextmanager
async def running(attempt: LocalAttempt, step: Step, output: bytearray | None = None) -> AsyncIterator[Task]:
    """The step while it runs; it must end within the limit."""
    task = asyncio.create_task(attempt.run(step.command, ignored if output is None else output.extend))
    await step.wait_ready()
    yield task
    await until(task.done, "the step to be gone")
    assert not step.alive


async def test_a_step_has_exactly_its_environment(attempt: LocalAttempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@h/d")
    seen = await printed(attempt, "cat /proc/self/environ", LANG="C.UTF-8", PROJECT_NAME="Ä $(id) \n'\"\\")
    variables = dict(variable.split("=", 1) for variable in seen.split("\0") if variable)
    outputs = variables.pop("STEP_OUTPUTS")
    assert variables == {
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "PROJECT_NAME": "Ä $(id) \n'\"\\",
        "PWD": str(attempt.workspace),
    }
    assert not Path(outputs).is_relative_to(attempt.workspace)


OF_THE_C_LIBRARY = 1 << 31 | 1 << 32
"""Signals 32 and 33: the parent of the tests may ignore them, and a program cannot reset them."""


async def test_every_step_starts_with_default_process_settings(attempt: LocalAttempt) -> None:
    look = """
        pwd
        umask
        cat
        ls /proc/self/fd | wc -w
        ulimit -c
        grep -E '^(SigBlk|SigIgn|NoNewPrivs)' /proc/self/status | tr -d ' \\t'
        ps -o sid= -p $$ | tr -d ' ' | sed "s/^$$\\$/leads its session/"
        cat /proc/self/oom_score_adj
        """
    state = await printed(attempt, look)
    await ended(attempt, "umask 0; cd /; ulimit -c 100; trap '' HUP INT TERM; (trap '' TERM; sleep 100) & true")
    assert await printed(attempt, look) == state
    lines = state.split("\n")
    ignored = int(lines.pop(5).removeprefix("SigIgn:"), 16)
    assert ignored & ~OF_THE_C_LIBRARY == 0
    assert lines == [
        str(attempt.workspace),
        "0022",
        "4",  # the standard three, and the one that ls opens
        "0",
        "SigBlk:0000000000000000",
        "NoNewPrivs:1",
        "leads its session",
        "500",
        "",
    ]


async def test_steps_share_a_private_workspace_that_is_empty_at_first(attempt: LocalAttempt) -> None:
    home = {"HOME": str(attempt.workspace / ".home"), "TMPDIR": str(attempt.workspace / ".tmp")}
    first = await printed(attempt, 'pwd; ls; ls -A; stat -c %a .; touch kept "$HOME/x"; mktemp; rm -r .tmp', **home)
    assert first.splitlines()[:-1] == [str(attempt.workspace), ".home", ".tmp", "700"]
    assert first.splitlines()[-1].startswith(home["TMPDIR"])
    assert await printed(attempt, "ls -A", **home) == ".home\n.tmp\nkept\n"
    assert stat.S_IMODE(attempt.workspace.parent.parent.stat().st_mode) == 0o700


async def test_each_step_has_its_own_outputs_file(attempt: LocalAttempt) -> None:
    first = await ended(attempt, 'printf "A=1\\nB=2\\n" > "$STEP_OUTPUTS"')
    second = await ended(attempt, 'cat "$STEP_OUTPUTS"; echo C=3 >> "$STEP_OUTPUTS"; exit 4')
    assert (first.outputs, second.outputs) == (b"A=1\nB=2\n", b"C=3\n")
    assert second.exit_code == 4


@pytest.mark.parametrize(
    "replacement",
    ["mkfifo", "mkdir", "ln -s /etc/passwd", "ln -s /dev/zero", "ln -s /nowhere"],
)
async def test_only_a_regular_outputs_file_is_read(attempt: LocalAttempt, replacement: str) -> None:
    end = await ended(attempt, f'rm "$STEP_OUTPUTS"; {replacement} "$STEP_OUTPUTS"')
    assert end == StepExit(exit_code=0)


async def test_the_beginning_of_a_large_outputs_file_is_read(attempt: LocalAttempt) -> None:
    end = await ended(attempt, 'head -c 10000000 /dev/zero > "$STEP_OUTPUTS"')
    assert end.outputs == bytes(65_536)


@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("exit 3", StepExit(exit_code=3)),
        ("kill -9 $$", StepExit(signal=signal.SIGKILL)),
        ("sh -c 'kill -9 $$'; true", StepExit(exit_code=137)),
        ("nonsense-command", StepExit(exit_code=127)),
    ],
)
async def test_how_a_step_ends(attempt: LocalAttempt, script: str, end: StepExit) -> None:
    assert await ended(attempt, script) == end


async def test_a_warden_is_reused_except_after_a_confidential_step(engine: LocalEngine) -> None:
    async def wardens_after(step: StepCommand) -> set[int]:
        async with engine.open(uuid4(), 1) as attempt:
            assert await attempt.run(step, ignored) == StepExit(exit_code=0)
        return children(engine.supervisor_pid or 0)

    first = await wardens_after(command("true"))
    assert len(first) == 1
    assert await wardens_after(command("sleep 0.1 & true")) == first
    secret = replace(command("true"), confidential=True)
    assert not await wardens_after(secret) & first


async def test_private_files_and_folders_exist_only_while_their_step_runs(attempt: LocalAttempt) -> None:
    look = 'cd "$PRIVATE"; stat -c "%a %n" . *; cat key; ls -A home tmp'
    fill = "mkdir -p home/deep/er; touch home/deep/er/x tmp/y; chmod 500 home/deep/er home/deep; chmod 0 tmp"
    environment = {"PATH": PATH, "PRIVATE": str(attempt.private)}
    assert not attempt.private.is_relative_to(attempt.workspace)
    for _ in range(2):
        output = bytearray()
        files, folders = {"key": "KEY\n", "hosts": ""}, ("home", "tmp")
        command = StepCommand("test", f"{look}; {fill}", environment, 60.0, files, folders)
        assert (await attempt.run(command, output.extend)).exit_code == 0
        assert output.decode() == "700 .\n700 home\n600 hosts\n600 key\n700 tmp\nKEY\nhome:\n\ntmp:\n"
        assert not attempt.private.exists()


async def test_private_files_of_a_cancelled_step_are_removed(attempt: LocalAttempt, tmp_path: Path) -> None:
    step = Step(tmp_path, 'touch "$READY"; sleep 1000')
    step.command = replace(step.command, private_files={"key": "KEY"})
    async with running(attempt, step) as task:
        assert attempt.private.exists()
        task.cancel()
    assert task.cancelled()
    assert not attempt.private.exists()


async def test_background_processes_end_with_their_step(attempt: LocalAttempt, tmp_path: Path) -> None:
    step = Step(tmp_path, f'{ESCAPING}\nwhile ! pgrep -f "[s]leep 1003" >&2; do sleep 0.1; done')
    end = await attempt.run(step.command, ignored)
    assert end == StepExit(exit_code=0)
    assert not step.alive


STUBBORN = f"{ESCAPING}\nsleep 1000"
STOPPED = 'sleep 1000 & kill -STOP $!; touch "$READY"; kill -STOP $$'


@pytest.mark.parametrize("script", [STUBBORN, STOPPED, FORKING], ids=["stubborn", "stopped", "forking"])
async def test_a_cancelled_step_is_gone_before_the_cancellation_is_raised(
    attempt: LocalAttempt, tmp_path: Path, script: str
) -> None:
    step = Step(tmp_path, script)
    async with running(attempt, step) as task:
        if script is STUBBORN:
            await step.wait_complete()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
    assert task.cancelled()


async def test_every_process_gets_sigterm_before_sigkill(attempt: LocalAttempt, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"""
    for name in one two; do
        NAME=$name setsid sh -c 'trap "echo $NAME >> {log}; exit" TERM
            touch {tmp_path}/$NAME; while :; do sleep 0.05; done' &
    done
    while ! [ -e {tmp_path}/one -a -e {tmp_path}/two ]; do sleep 0.05; done
    touch "$READY"
    wait
    """
    async with running(attempt, Step(tmp_path, script)) as task:
        task.cancel()
    assert sorted(log.read_text().split()) == ["one", "two"]


@pytest.mark.parametrize(
    ("script", "end", "printed"),
    [
        ('trap "echo done; exit 0" TERM; touch "$READY"; while :; do sleep 0.05; done', StepExit(exit_code=0), b"done"),
        ('echo last; touch "$READY"; exec sleep 1000', StepExit(signal=signal.SIGTERM), b"last"),
        (f"{ESCAPING}\nsleep 1000 & while :; do wait || true; done", StepExit(signal=signal.SIGKILL), b""),
    ],
    ids=["succeeds", "terminated", "killed"],
)
async def test_a_stopped_step_keeps_its_own_end_and_output(
    attempt: LocalAttempt, tmp_path: Path, script: str, end: StepExit, printed: bytes
) -> None:
    step, output = Step(tmp_path, script), bytearray()
    async with running(attempt, step, output) as task:
        attempt.stop()
    assert task.result() == replace(end, stopped=True)
    assert output.strip().endswith(printed)
    with pytest.raises(SetupStopped):
        await attempt.run(step.command, ignored)


@pytest.mark.parametrize(
    ("script", "seconds", "number"),
    [("sleep 1000", 0.01, signal.SIGTERM), ("trap '' TERM; while :; do sleep 0.1; done", 3.0, signal.SIGKILL)],
)
async def test_a_step_that_times_out_is_stopped(
    attempt: LocalAttempt, tmp_path: Path, script: str, seconds: float, number: int
) -> None:
    step = Step(tmp_path, script, seconds=seconds)
    assert await attempt.run(step.command, ignored) == StepExit(signal=number, timed_out=True)
    assert not step.alive


def chain(*scripts: str) -> list[StepCommand]:
    """Commands that may follow each other at once."""
    commands: list[StepCommand] = []
    for script in reversed(scripts):
        following = commands[0] if commands else None
        commands.insert(0, replace(command(script), following=following))
    return commands


def block_until_exists(path: Path) -> None:
    """Wait without letting the event loop run."""
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"waited 20 s for {path.name}"
        time.sleep(0.01)


async def all_ends(attempt: LocalAttempt, commands: list[StepCommand]) -> list[tuple[StepExit, bytes]]:
    ends = []
    for each in commands:
        output = bytearray()
        ends.append((await attempt.run(each, output.extend), bytes(output)))
    return ends


async def test_steps_that_follow_at_once_keep_their_own_output_and_outputs(attempt: LocalAttempt) -> None:
    scripts = [f'echo {n}; echo A={n} >> "$STEP_OUTPUTS"' if n % 2 else f"echo {n}; rmdir .tmp" for n in range(19)]
    ends = await all_ends(attempt, chain(*scripts))
    assert [output for _, output in ends] == [b"%d\n" % n for n in range(19)]
    assert [end for end, _ in ends] == [StepExit(0, outputs=b"A=%d\n" % n if n % 2 else b"") for n in range(19)]


@pytest.mark.parametrize(
    "change",
    ["chmod 400 F", "ln F link", "ln -s / G; mv G F", "echo x > F; : > F", "rm F", "rm F; mkdir F", "mkfifo G; mv G F"],
)
async def test_a_step_that_follows_finds_its_outputs_file_untouched(attempt: LocalAttempt, change: str) -> None:
    look = 'stat -c "%F %a %h %s" "$STEP_OUTPUTS"'
    ends = await all_ends(attempt, chain(change.replace("F", '"$STEP_OUTPUTS"'), look))
    assert ends[1] == (StepExit(0), b"regular empty file 600 1 0\n")


async def test_steps_that_follow_need_no_more_file_descriptors_than_there_are(attempt: LocalAttempt) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        fds = []
        with contextlib.suppress(OSError):
            while True:
                fds.append(os.open(os.devnull, os.O_RDONLY))
        for fd in fds[-10:]:
            os.close(fd)
        for fd in fds[:-10]:
            held.callback(os.close, fd)
        ends = await all_ends(attempt, chain("echo 1", "echo 2", "echo 3"))
    assert [output for _, output in ends] == [b"1\n", b"2\n", b"3\n"]


async def test_no_step_follows_one_that_failed(attempt: LocalAttempt, tmp_path: Path) -> None:
    first, _ = chain("exit 3", f"touch {tmp_path}/ran")
    assert await attempt.run(first, ignored) == StepExit(exit_code=3)
    await attempt.close()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("waits", [True, False])
async def test_a_step_that_followed_at_once_can_be_stopped(engine: LocalEngine, tmp_path: Path, *, waits: bool) -> None:
    step = Step(tmp_path, f"{ESCAPING}\nsleep 1000 & while :; do wait || true; done")
    first = replace(command(":"), following=step.command)
    async with engine.open(uuid4(), 1) as attempt:
        assert await attempt.run(first, ignored) == StepExit(exit_code=0)
        await step.wait_ready()
        if waits:
            attempt.stop()
            assert await attempt.run(step.command, ignored) == StepExit(signal=signal.SIGKILL, stopped=True)
    assert not step.alive


async def test_a_step_that_had_followed_before_the_stop_counts(attempt: LocalAttempt, tmp_path: Path) -> None:
    first, second = chain(":", f"trap '' TERM; touch {tmp_path}/ran")
    task = asyncio.create_task(attempt.run(first, ignored))
    await asyncio.sleep(0)
    block_until_exists(tmp_path / "ran")  # the operator is busy: it learns of neither end before it stops them
    attempt.stop()
    assert await task == StepExit(exit_code=0)
    assert await attempt.run(second, ignored) == StepExit(exit_code=0, stopped=True)


async def test_all_steps_can_be_killed_at_once(engine: LocalEngine, tmp_path: Path) -> None:
    steps = [Step(tmp_path, f"{ESCAPING}\nsleep 1000") for _ in range(3)]

    async def one(step: Step) -> None:
        async with engine.open(uuid4(), 1) as attempt:
            await attempt.run(step.command, ignored)

    tasks = [asyncio.create_task(one(step)) for step in steps]
    for step in steps:
        await step.wait_ready()
    await engine.kill_all()
    assert not any(step.alive for step in steps)
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(error, InfrastructureError)
        assert error.reason is Reason.INTERRUPTED
        assert error.message == "step test was interrupted: the operator killed its processes"


@pytest.mark.parametrize(
    "script",
    [
        "chmod 000 .home .tmp; chmod 000 .",
        "touch ../beside; mkdir ../more; mkdir -p x/y && chmod 555 x",
        'touch -- -rf "$(printf "\\377")"; mkfifo pipe; ln -s / root; ln -s nowhere broken',
        'python -c \'import os\nfor n in range(3000):\n    os.mkdir("d" * 50); os.chdir("d" * 50)\'',
        'cd /; rm -rf "$HERE"',
    ],
)
async def test_a_workspace_is_removed_with_any_content(engine: LocalEngine, script: str) -> None:
    async with engine.open(uuid4(), 1) as attempt:
        await printed(attempt, script, HERE=str(attempt.workspace))
    assert not attempt.workspace.parent.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file immutable")
async def test_immutable_files_are_removed(engine: LocalEngine) -> None:
    async with engine.open(uuid4(), 1) as attempt:
        end = await ended(attempt, "mkdir d; touch d/f d/g; chattr +i d/f; chattr +a d/g; chattr +i d")
        if end.exit_code != 0:
            pytest.skip("this file system has no immutable files")
    assert not attempt.workspace.exists()


async def test_a_flood_of_output_takes_no_memory(attempt: LocalAttempt) -> None:
    size = 100_000_000
    seen = 0

    def count(chunk: bytes) -> None:
        nonlocal seen
        seen += len(chunk)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end = await attempt.run(command(f"head -c {size} /dev/zero; echo end"), count)
    assert end == StepExit(exit_code=0)
    assert seen == size + 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


async def test_a_script_and_values_as_long_as_linux_allows(attempt: LocalAttempt) -> None:
    long = "x" * 100_000
    assert await printed(attempt, f': {long}; printf %s "$LONG"', LONG=long) == long


@pytest.mark.parametrize(
    ("script", "value", "why"),
    [(": " + "x" * 200_000, "", "Argument list too long"), ("true", "a\0b", "embedded null byte")],
)
async def test_a_step_that_cannot_start_says_why(attempt: LocalAttempt, script: str, value: str, why: str) -> None:
    with pytest.raises(InfrastructureError, match=f"step test could not start: .*{why}") as caught:
        await attempt.run(command(script, {"VALUE": value}), ignored)
    assert caught.value.reason is Reason.ENGINE_ERROR


async def test_a_step_without_a_workspace_says_so(attempt: LocalAttempt) -> None:
    await printed(attempt, 'cd /; rm -rf "$HERE"', HERE=str(attempt.workspace))
    with pytest.raises(InfrastructureError, match=r"could not start: .*No such file or directory"):
        await ended(attempt, "true")


async def test_a_closed_engine_runs_nothing(engine: LocalEngine, tmp_path: Path) -> None:
    step = Step(tmp_path, f"{ESCAPING}\nsleep 1000")

    async def run() -> None:
        async with engine.open(uuid4(), 1) as attempt:
            await attempt.run(step.command, ignored)

    task = asyncio.create_task(run())
    await step.wait_ready()
    await engine.close()
    assert not step.alive
    with pytest.raises(InfrastructureError, match="step test was interrupted"):
        await task
    with pytest.raises(InfrastructureError, match="the engine is closed"):
        await engine.start()


async def test_a_step_that_runs_out_of_memory_is_recognized(attempt: LocalAttempt) -> None:
    group = Path("/sys/fs/cgroup/memory") / f"projectsetup-test-{uuid4().hex[:8]}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text("30000000")
    except OSError:
        pytest.skip("cannot create a memory cgroup here")
    try:
        end = await ended(attempt, f"echo $$ > {group}/cgroup.procs; python -c 'x = bytearray(200_000_000)'; true")
    finally:
        group.rmdir()
    assert end.oom
    assert 137 in {end.exit_code, 128 + (end.signal or 0)}
