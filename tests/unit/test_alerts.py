"""The alerts watch metrics that there are, and values that their labels can have."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.control.attempt_end import EndKind
from projectsetup.observe.metrics import Metrics
from tests.manifests import MANIFESTS, read

GROUPS: Final = read(MANIFESTS / "monitoring" / "rules.yaml")[0]["spec"]["groups"]
RULES: Final[list[Any]] = [rule for group in GROUPS for rule in group["rules"]]
LABELS: Final = {"kind": set(map(str, EndKind)), "reason": set(map(str, Reason))}


def exported() -> set[str]:
    metrics = Metrics([])
    metrics.attempt_started()
    metrics.attempt_ended("kind", "reason")
    return set(re.findall(r"^(projectsetup_\w+?)(?:\{| )", metrics.render().decode(), flags=re.MULTILINE))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_watches_what_there_is(rule: dict[str, Any]) -> None:
    used = set(re.findall(r"projectsetup_\w+", rule["expr"]))
    assert used
    assert used <= exported()
    for label, value in re.findall(r'(\w+)="([^"]*)"', rule["expr"]):
        assert value in LABELS[label]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"].keys() == {"summary", "description"}
