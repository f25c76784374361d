"""A second try for a few tests of real, busy systems that failed; those of broken promises and of pure code get none.

What passes at its second try alone is named, since it is to be mended.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

MOST: Final = 3
"""Failures in more modules than these are no bad luck; in one module the first may have brought the others about."""
_NOTE: Final = Path(".pytest_cache/second-try.txt")
_NO_LUCK: Final = ("tests/unit/", "tests/chaos/verdict.py", "tests/node/job_verdict.py")
"""Where a failure stands that no load explains: in a test of pure code, or where promises are judged."""


class Failures:
    """Collects what failed in one run, and notes what may be tried again."""

    def __init__(self) -> None:
        self._failed: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has failed: keep where."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self._failed[report.nodeid] = f"{report.nodeid} {getattr(crash, 'path', '')}"

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Leave a note of what may be tried again, none where something else is wrong."""
        _NOTE.unlink(missing_ok=True)
        if exitstatus == pytest.ExitCode.TESTS_FAILED and may_be_luck(list(self._failed.values())):
            _NOTE.parent.mkdir(exist_ok=True)
            _NOTE.write_text("\n".join(self._failed))


def may_be_luck(places: list[str]) -> bool:
    """Whether these failures, each a test and the file in which it broke, may be due to load."""
    modules = {place.partition("::")[0] for place in places}
    return 0 < len(modules) <= MOST and not any(place in told for told in places for place in _NO_LUCK)


def main() -> int:
    """0 when all that failed passes now, on parts of its own."""
    if not _NOTE.exists():
        return 1
    tests = _NOTE.read_text().splitlines()
    _NOTE.unlink()
    print(f"\n{len(tests)} failed and get a second try, alone", flush=True)
    if code := subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests], check=False
    ).returncode:
        return code
    print("passed at the second try alone, to be mended: " + ", ".join(tests))
    return 0


if __name__ == "__main__":
    sys.exit(main())
