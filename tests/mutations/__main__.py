"""`make mutations`: applies each mutation to a copy of the repository, runs its tests there, names the survivors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Final

from tests.mutations.catalogue import MUTATIONS, ROOT, Mutation

LIMIT: Final = 900.0
UNIT_LIMIT: Final = 120.0
"""Seconds of one mutation, and of one unit test: a defect may make it wait for ever."""
TOO_SLOW: Final = 124
CAUGHT: Final = (1, 2)
"""Exit codes of pytest: a test failed, or a module that computes its cases from the broken code did."""


def main() -> int:
    """0 when the tests caught every mutation, else 1."""
    parser = ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--list", action="store_true", help="only show them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("words", nargs="*", help="only those whose promise or file contains one of these")
    options = parser.parse_args()
    chosen = [
        m for m in MUTATIONS if not options.words or any(word in f"{m.promise} {m.file}" for word in options.words)
    ]
    if options.list:
        for mutation in chosen:
            print(f"{mutation.promise}\n    {mutation.file}: {', '.join(mutation.tests)}")
        print(f"{len(chosen)} mutations")
        return 0
    problems = [f"{mutation.promise}: {problem}" for mutation in chosen if (problem := mutation.problem())]
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    return _run(chosen, options.jobs)


def _run(mutations: Sequence[Mutation], jobs: int) -> int:
    copies: SimpleQueue[Path] = SimpleQueue()
    with TemporaryDirectory(prefix="mutations-") as folder, ThreadPoolExecutor(jobs) as pool:
        for number in range(jobs):
            copies.put(_copy(Path(folder) / str(number)))
        unbroken = copies.get()
        code, printed = _test(unbroken, sorted({test for mutation in mutations for test in mutation.tests}))
        if code != 0:
            print(f"{printed}\nthe tests do not pass without a mutation", file=sys.stderr)
            return 1
        copies.put(unbroken)
        caught = list(pool.map(lambda mutation: _is_caught(mutation, copies), mutations))
    print(f"{sum(caught)} of {len(mutations)} mutations caught")
    return 0 if all(caught) else 1


def _is_caught(mutation: Mutation, copies: SimpleQueue[Path]) -> bool:
    root = copies.get()
    try:
        original = (root / mutation.file).read_text()
        mutation.apply(root)
        code, _ = _test(root, mutation.tests)
        (root / mutation.file).write_text(original)
    finally:
        copies.put(root)
    if code in CAUGHT:
        print(f"caught    {mutation.promise}", flush=True)
    else:
        what = "SURVIVED " if code == 0 else f"NO RESULT (exit code {code}) "
        print(f"{what} {mutation.promise}: {mutation.file}, {', '.join(mutation.tests)}", flush=True)
    return code in CAUGHT


def _copy(target: Path) -> Path:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def _test(root: Path, tests: Sequence[str]) -> tuple[int, str]:
    """The exit code of pytest, and the end of what it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    if all(test.startswith("tests/unit/") for test in tests):
        command += ["-o", f"timeout={UNIT_LIMIT}", "--noconftest", "-p", "tests.support.hypothesis_profiles"]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'operator'}:{root}", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return TOO_SLOW, f"the tests did not end within {LIMIT:.0f} s"
    return done.returncode, done.stdout[-4000:] + done.stderr[-1000:]


if __name__ == "__main__":
    sys.exit(main())
