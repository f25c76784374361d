"""The dashboard file matches the code and shows every metric."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest

from monitoring.grafana import FILE, render
from monitoring.panels import ROWS, Graph
from tests.support.exposition import documented

NOT_SHOWN: Final = {"projectsetup_database_connection"}
"""Metrics of the configuration, which nothing changes."""
HISTOGRAM: Final = re.compile("_(?:bucket|sum|count)$")


def targets() -> list[dict[str, Any]]:
    """Every query of the file."""
    return [target for panel in json.loads(FILE.read_text())["panels"] for target in panel.get("targets", ())]


def named(text: str) -> set[str]:
    """The metrics that a text names."""
    found = set(re.findall(r"projectsetup_\w+", text))
    return {name if name in documented() else HISTOGRAM.sub("", name) for name in found}


def test_the_file_is_what_the_code_makes() -> None:
    assert FILE.read_text() == render(), "run python -m monitoring dashboard"


def test_every_metric_is_on_it_and_no_other() -> None:
    assert named(" ".join(target["expr"] for target in targets())) == documented().keys() - NOT_SHOWN


def test_legends_name_labels_that_there_are() -> None:
    for target in targets():
        known = {"instance"}.union(*(documented()[name].labels for name in named(target["expr"])))
        assert set(re.findall(r"{{(\w+)}}", target.get("legendFormat", ""))) <= known


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.title))
def test_a_row_fills_its_lines(row: Any) -> None:
    graphs = [panel for panel in row.panels if isinstance(panel, Graph)]
    assert len(graphs) % 3 == 0 if graphs else len(row.panels) == 6
    assert all(panel.title and panel.description for panel in row.panels)
