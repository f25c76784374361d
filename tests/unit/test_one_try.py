"""Nothing gives a failed test a second try: a promise that breaks once in ten runs is broken."""

from __future__ import annotations

import re
from typing import Final

from tests.run import OTHERS, UNIT
from tests.support.manifests import ROOT

PLUGINS: Final = re.compile(r"^(pytest-rerunfailures|pytest-retry|flaky|pytest-repeat)\b", re.MULTILINE)
MARKS: Final = re.compile(r"\b(reruns|flaky|xfail)\b\W*\(|mark\.(flaky|xfail)\b|--reruns|--last-failed|--lf\b")


def test_make_test_runs_every_test_once_and_no_failure_is_passed_over() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (recipe,) = re.findall(r"^test:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe.splitlines() == ["\t@$(BIN)/python -m tests.run test"]
    chosen = {argument for argument in (*UNIT, *OTHERS) if argument.startswith("tests/")}
    assert chosen == {f"tests/{module.parent.name}" for module in (ROOT / "tests").glob("*/test_*.py")}
    assert not {"-x", "-k", "-m"} & {*UNIT[3:], *OTHERS}
    assert "exec make test" in (ROOT / ".ci" / "run").read_text()


def test_nothing_that_tries_again_is_installed() -> None:
    assert not PLUGINS.search((ROOT / "requirements.lock").read_text())


def test_no_test_may_fail() -> None:
    marked = [
        str(file.relative_to(ROOT))
        for file in (ROOT / "tests").rglob("*.py")
        if file.name != "test_one_try.py" and MARKS.search(file.read_text())
    ]
    assert marked == []
