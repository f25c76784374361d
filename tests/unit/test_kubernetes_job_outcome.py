"""The announcements of steps in a log, and the reports in termination messages."""

from __future__ import annotations

import pytest

from projectsetup.engines.kubernetes_job.outcome import StageReport, announced_step, last_announced_step, read_report
from projectsetup.setup.types import Volume

COMMIT = "a" * 40
FULL_AND_NOEXEC = Volume(full=True, no_exec=True)
PRINTED = f"CODE_COMMIT={COMMIT}\nmatch=x\n"


@pytest.mark.parametrize(
    ("line", "step"),
    [
        (b"[projectsetup] step build (3/7)\n", "build"),
        (b"[projectsetup] step build-2 (10/50)", "build-2"),
        (b" [projectsetup] step build (3/7)\n", None),
        (b"[projectsetup] step build (3/7) and more\n", None),
        (b"[projectsetup] step Build (3/7)\n", None),
        (b"\xff\n", None),
    ],
)
def test_the_line_that_announces_a_step(line: bytes, step: str | None) -> None:
    assert announced_step(line) == step


def test_the_last_step_of_the_end_of_a_log() -> None:
    log = "ep one (1/3)\n[projectsetup] step two (2/3)\nx\n[projectsetup] step three (3/3)\noutput\n"
    assert last_announced_step(log) == "three"
    assert last_announced_step("output\n") is None


@pytest.mark.parametrize(
    ("message", "report"),
    [
        (f"step=a\nexit=0\nCODE_COMMIT={COMMIT}\n", StageReport("a", 0, False, False, {"CODE_COMMIT": COMMIT}, (), "")),
        ("step=a\nexit=0\n\n", StageReport("a", 0, False, False, {}, (), "")),
        ("step=a\nexit=3\n", StageReport("a", 3, False, False, {}, (), "")),
        ("step=a\nexit=3\n\nx\n\ny\n", StageReport("a", 3, False, False, {}, (), "x\n\ny\n")),
        ("step=a\nexit=3\nmatch=m n\nmatch=o\n\nx\n", StageReport("a", 3, False, False, {}, ("m n", "o"), "x\n")),
        ("step=a\nexit=9\ntimeout=1\n\nx", StageReport("a", 9, True, False, {}, (), "x")),
        ("step=a\nexit=9\ntimeout=1\nstopped=1\n\nx", StageReport("a", 9, True, True, {}, (), "x")),
        ("step=a\nexit=3\nfull=1\nnoexec=1\n\nx", StageReport("a", 3, False, False, {}, (), "x", FULL_AND_NOEXEC)),
        ("step=a\nexit=3\nreadonly=1\n", StageReport("a", 3, False, False, {}, (), "", Volume(read_only=True))),
        (f"step=a\nexit=3\n\n{PRINTED}", StageReport("a", 3, False, False, {}, (), PRINTED)),
        ("", None),
        ("output\nstep=a\nexit=3\n", None),
        ("step=a\nexit=\n", None),
        (f"CODE_COMMIT={COMMIT}\n", None),
    ],
)
def test_reports(message: str, report: StageReport | None) -> None:
    assert read_report(message) == report
