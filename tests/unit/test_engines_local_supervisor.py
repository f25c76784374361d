"""The small parts of the supervisor that need no supervisor."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from projectsetup.engines.local.supervisor import directories, kernel, landlock, protocol
from projectsetup.engines.local.supervisor.processes import descendants


def test_it_needs_little_more_than_the_interpreter() -> None:
    script = "import json, sys, projectsetup.engines.local.supervisor.main; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    heavy = {"asyncio", "logging", "pathlib", "pydantic", "subprocess", "tempfile", "typing_extensions", "yaml"}
    ours = {name for name in loaded if name.startswith("projectsetup")}
    alone = subprocess.run(
        [sys.executable, "-c", "import json, sys; print(json.dumps(sorted(sys.modules)))"],
        capture_output=True,
        check=True,
    )
    assert heavy & (set(loaded) - set(json.loads(alone.stdout))) == set()
    assert {name for name in ours if not name.startswith("projectsetup.engines")} == {"projectsetup"}


@pytest.mark.parametrize("has_landlock", [True, False])
def test_where_there_is_no_landlock_a_shell_is_started_all_the_same(tmp_path: Path, *, has_landlock: bool) -> None:
    if has_landlock and not landlock.abi():
        pytest.skip("this kernel has no Landlock")
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.write_text("secret")
    script = f"""
import os
from projectsetup.engines.local.supervisor import kernel, landlock, shell
if not {has_landlock}:
    landlock.abi = lambda: 0
kernel.give_up_new_privileges()
command = shell.Command("cat {other}", {{"PATH": "/usr/bin:/bin"}}, "{own}", 1.0, ("{other}",), ("{own}",))
started = shell.start_shell(command, 1, os.open(".", os.O_PATH))
print(os.waitstatus_to_exitcode(os.waitpid(started, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ("secret" in done.stdout) is not has_landlock


def test_a_message_brings_its_file_descriptors() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reading, writing = os.pipe()
    with ours, theirs:
        protocol.send(ours, {"op": "run", "id": 1}, (reading, writing))
        received = protocol.receive(theirs)
        assert received is not None
        message, fds = received
        assert message == {"op": "run", "id": 1}
        assert all(not os.get_inheritable(fd) for fd in fds)
        os.write(fds[1], b"x")
        assert os.read(reading, 1) == b"x"
        ours.close()
        assert protocol.receive(theirs) is None
    for fd in (reading, writing, *fds):
        os.close(fd)


def test_a_directory_is_its_supervisors_as_long_as_that_lives(tmp_path: Path) -> None:
    own, lock = directories.make_own(str(tmp_path))
    assert Path(own).stat().st_mode & 0o777 == 0o700
    assert not os.get_inheritable(lock)
    assert directories.abandoned(str(tmp_path)) == {}
    os.close(lock)
    abandoned = directories.abandoned(str(tmp_path))
    assert list(abandoned) == [own]
    assert directories.abandoned(str(tmp_path)) == {}, "who found it first has it"
    os.close(abandoned[own])
    directories.remove_own(own)
    assert list(tmp_path.iterdir()) == []


def test_the_descendants_of_a_process_come_parents_first() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 100 & echo; wait"], stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        found = descendants()
        spared = descendants(spare=[shell.pid])
        (sleep,) = [pid for pid in found if parent_of(pid) == shell.pid]
        os.kill(sleep, signal.SIGKILL)
    assert found.index(shell.pid) < found.index(sleep)
    assert not {shell.pid, sleep} & set(spared)


def parent_of(pid: int) -> int | None:
    """The parent of a process, None when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def test_the_kernels_count_of_kills_for_memory_can_be_read() -> None:
    assert kernel.oom_kills() >= 0
