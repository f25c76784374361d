"""Alerts use existing metrics and label values, and each has a runbook."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from projectsetup.api.reasons import AttemptOutcome, Reason
from projectsetup.controller.outcome import EndKind
from tests.support.exposition import documented
from tests.support.manifests import MANIFESTS, ROOT, read

GROUPS: Final = read(MANIFESTS / "monitoring" / "rules.yaml")[0]["spec"]["groups"]
RULES: Final[list[Any]] = [rule for group in GROUPS for rule in group["rules"]]
RUNBOOKS: Final = ROOT / "docs" / "runbooks"
LOG_SEARCH: Final = re.compile(r"""^kubectl logs .*\| grep (?:-E )?["'](.*)["']$""", re.MULTILINE)
ALTERNATIVES: Final = re.compile(r"\|(?![^(]*\))")
"""Separates the texts of a pattern, but not those of a group within one."""
VALUES: Final = {
    "outcome": {*map(str, AttemptOutcome), *map(str, EndKind)},
    "reason": set(map(str, Reason)),
    "result": {"forbidden", "rejected", "unavailable"},
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_uses_documented_metrics_and_label_values(rule: dict[str, Any]) -> None:
    used = set(re.findall(r"projectsetup_\w+", rule["expr"]))
    assert used
    assert used <= documented().keys()
    for label, values in re.findall(r'(\w+)=~?"([^"]*)"', rule["expr"]):
        assert set(values.split("|")) <= VALUES[label]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_has_a_summary_and_a_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    page = ROOT / rule["annotations"]["runbook_url"]
    assert page == RUNBOOKS / f"{rule['alert']}.md"
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    assert headings == [rule["alert"], "Meaning", "Diagnosis", "Mitigation"]


def test_every_runbook_belongs_to_an_alert_and_is_listed() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == {rule["alert"] for rule in RULES}
    assert set(re.findall(r"\[(\w+)\]\(\1\.md\)", (RUNBOOKS / "README.md").read_text())) == pages


def test_runbooks_name_documented_metrics() -> None:
    named = set().union(*(re.findall(r"projectsetup_\w+", page.read_text()) for page in RUNBOOKS.glob("*.md")))
    assert named <= documented().keys()


def test_runbooks_search_the_log_for_messages_that_the_operator_writes() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "operator").rglob("*.py"))
    commands = [found for page in RUNBOOKS.glob("*.md") for found in LOG_SEARCH.findall(page.read_text())]
    texts = [text for pattern in commands for text in ALTERNATIVES.split(pattern)]
    assert len(texts) >= len(commands) >= 5
    assert [text for text in texts if not re.search(rf'"{text}', source)] == []
