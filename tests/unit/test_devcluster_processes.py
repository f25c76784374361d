"""Programs are found again by process id and start time, and killed with all their descendants."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from devcluster.errors import DevclusterError
from devcluster.processes import Program, defer_signals, is_in_use, start_time

FAMILY = "setsid sleep 60 & setsid sh -c 'sleep 60 & wait' & wait"


def family(pid: int) -> set[int]:
    """The process and all below it, by the kernel's own lists of children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {pid}.union(*(family(int(child)) for child in children))


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path, "part")


def test_a_program_is_found_again_from_another_process(program: Program, tmp_path: Path) -> None:
    program.spawn(["sleep", "60"])
    assert Program(tmp_path, "part").pid == program.pid is not None
    program.kill()
    assert Program(tmp_path, "part").pid is None


def test_a_process_that_reuses_the_id_is_not_killed(program: Program, tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as foreign:
        (tmp_path / "part.pid").write_text(f"{foreign.pid} 1")
        assert program.pid is None
        program.kill()
        assert foreign.poll() is None
        foreign.kill()


@pytest.mark.parametrize("text", ["", "nonsense", "1 2 3", "12"])
def test_a_damaged_pid_file_names_no_process(program: Program, tmp_path: Path, text: str) -> None:
    (tmp_path / "part.pid").write_text(text)
    assert program.pid is None


def test_kill_ends_all_descendants(program: Program) -> None:
    program.spawn(["sh", "-c", FAMILY])
    leader = program.pid
    assert leader is not None
    end = time.monotonic() + 20
    while len(family(leader)) < 4:
        assert time.monotonic() < end, "waited 20 s for a shell, a sleep, a shell and its sleep"
    members = family(leader)
    program.kill()
    assert [member for member in members if start_time(member) is not None] == []


def test_the_log_explains_a_program_that_exits_during_start(program: Program) -> None:
    program.spawn(["sh", "-c", "echo first; echo '  no   such option' >&2; exit 1"])
    with pytest.raises(DevclusterError, match=r"part exited during start: first no such option$"):
        program.await_ready(lambda: True, port=1, limit=10)


def test_a_folder_is_in_use_while_it_is_the_working_directory_of_a_process(tmp_path: Path) -> None:
    assert not is_in_use(tmp_path)
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as process:
        assert is_in_use(tmp_path)
        assert not is_in_use(tmp_path.parent)
        process.kill()
    assert not is_in_use(tmp_path)


def test_a_signal_is_deferred_to_the_end_of_the_block() -> None:
    reached = []

    def block() -> None:
        with defer_signals():
            signal.raise_signal(signal.SIGINT)
            reached.append("end")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert reached == ["end"]
