"""Each alert fires, has the right text, and clears: promtool runs a test file for each."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.manifests import MANIFESTS, plain_rules, read

TESTS: Final = Path(__file__).parents[1] / "alerts"
(_RULES,) = read(MANIFESTS / "monitoring" / "rules.yaml")
ALERTS: Final = [rule["alert"] for group in _RULES["spec"]["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test files, beside the rules as Prometheus reads them."""
    folder = tmp_path_factory.mktemp("alerts") / "tests"
    shutil.copytree(TESTS, folder)
    plain_rules(folder / "rules.yaml")
    return folder


def promtool(programs: dict[str, Path], folder: Path, *arguments: str) -> None:
    command = [str(programs["promtool"]), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_well_formed(prometheus_programs: dict[str, Path], folder: Path) -> None:
    promtool(prometheus_programs, folder, "check", "rules", "--lint-fatal", "rules.yaml")


@pytest.mark.parametrize("alert", ALERTS)
def test_fires_and_clears(prometheus_programs: dict[str, Path], folder: Path, alert: str) -> None:
    promtool(prometheus_programs, folder, "test", "rules", f"{alert}.yaml")


@pytest.mark.parametrize("alert", ALERTS)
def test_is_tested_before_while_and_after_it_fires(alert: str) -> None:
    cases: list[dict[str, Any]] = yaml.safe_load((TESTS / f"{alert}.yaml").read_text())["tests"]
    checks = [check for case in cases for check in case["alert_rule_test"]]
    assert {check["alertname"] for check in checks} == {alert}
    assert [bool(check["exp_alerts"]) for check in cases[0]["alert_rule_test"]] == [False, True, False]
