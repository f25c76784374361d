"""`make check` and `make test`: checks run beside each other; other tests follow when what they need is built."""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

BIN: Final = Path(sys.executable).parent
PYTEST: Final = (sys.executable, "-m", "pytest")
STATIC: Final = {
    "ruff check": (str(BIN / "ruff"), "check", "."),
    "ruff format": (str(BIN / "ruff"), "format", "--check", "."),
    "mypy": (str(BIN / "mypy"),),
    "import contracts": (str(BIN / "lint-imports"),),
}
UNIT: Final = (*PYTEST, "-q", "-n", "2", "tests/unit")
QUICK: Final = "--hypothesis-profile=quick"
WORKERS: Final = 4
"""Of the tests on a real control plane: they mostly wait, so two cores keep up with more than two."""
FOLDERS: Final = ("tests/node", "tests/chaos", "tests/security", "tests/integration")
"""What takes longest comes first, so that no worker ends alone."""
OTHERS: Final = ("-n", str(WORKERS), "--dist", "loadscope", "--no-loadscope-reorder", *FOLDERS)


def main() -> int:
    """0 when everything passed, else 1."""
    parser = ArgumentParser(prog="python -m tests.run", description=__doc__)
    parser.add_argument("what", choices=["check", "test"])
    return _check() if parser.parse_args().what == "check" else _test()


def _check() -> int:
    return 0 if _side_by_side({"unit tests": (*UNIT, QUICK), **STATIC}) else 1


def _test() -> int:
    with subprocess.Popen([sys.executable, "-u", "-m", "tests.prepare"]) as preparation:
        passed = _side_by_side({"unit tests": UNIT, **STATIC})
        if not passed:
            preparation.terminate()
    if not passed or preparation.returncode:
        return 1
    return subprocess.run([*PYTEST, *OTHERS], check=False).returncode


def _side_by_side(commands: dict[str, Sequence[str]]) -> bool:
    """Whether all succeed; what each printed is shown when it failed, its last line when it passed."""
    with ThreadPoolExecutor(len(commands)) as pool:
        runs = [pool.submit(_run, name, command) for name, command in commands.items()]
        passed = [run.result() for run in as_completed(runs)]
    return all(passed)


def _run(name: str, command: Sequence[str]) -> bool:
    began = time.monotonic()
    with TemporaryFile("w+", errors="replace") as output:
        passed = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode == 0
        output.seek(0)
        lines = output.read().splitlines() or [""]
    took = f"{time.monotonic() - began:.0f} s"
    if passed:
        print(f"passed  {name} ({took}): {lines[-1].strip('= ')}", flush=True)
    else:
        print("\n".join((f"FAILED  {name} ({took})", *(f"    {line}" for line in lines))), flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main())
