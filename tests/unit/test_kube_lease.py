"""Who holds the Lease, and who is certainly dead."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from projectsetup.kube.lease import is_dead, own_identity

PRINT_IDENTITY = "from projectsetup.kube.lease import own_identity; print(own_identity(), flush=True); input()"


@pytest.fixture
def other() -> subprocess.Popen[str]:
    """Another operator of this machine, as it were."""
    return subprocess.Popen(
        [sys.executable, "-c", PRINT_IDENTITY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def name_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_process_is_dead_when_it_has_ended_even_before_it_is_reaped(other: subprocess.Popen[str]) -> None:
    with other:
        name = name_of(other)
        assert not is_dead(name)
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert is_dead(name)
    assert is_dead(name)


def test_a_process_that_took_over_the_number_of_a_dead_one_is_not_it() -> None:
    before, _, start_time = own_identity().rpartition(".")
    assert not is_dead(f"{before}.{start_time}")
    assert is_dead(f"{before}.{int(start_time) - 1}")


@pytest.mark.parametrize("holder", ["", "pod-7d4f", "other.machine.0123abcd.4026531836.1.1", "a.b", "...", ".1.1"])
def test_of_others_nothing_is_known(holder: str) -> None:
    assert not is_dead(holder)


def test_in_a_pod_the_name_is_that_of_the_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = own_identity()
    monkeypatch.setattr("projectsetup.kube.lease.in_pod", lambda: True)
    monkeypatch.setattr(socket, "gethostname", lambda: "projectsetup-operator-7d4f")
    assert own_identity() == "projectsetup-operator-7d4f"
    assert not is_dead(outside.replace(str(os.getpid()), "1"))
