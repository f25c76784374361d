"""The Helm chart, without Helm: generated files, version and schema match their sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from projectsetup.settings import Settings
from projectsetup.version import version
from release.chart import CHART, described_values, generated_files
from tests.support.manifests import ROOT

SET_BY_THE_CHART: Final = {
    "database_url",
    "engine",
    "namespaces",
    "intake_namespace",
    "recipes_dir",
    "workspace_root",
    "confine_steps",
    "http_port",
    "leader_election",
    "operator_namespace",
}
SCHEMA: Final[dict[str, Any]] = json.loads((CHART / "values.schema.json").read_text())
VALUES: Final[dict[str, Any]] = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize("path", generated_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_files_are_up_to_date(path: Path) -> None:
    assert path.read_text() == generated_files()[path], "run `python -m release.chart`"


def test_the_folder_of_copies_holds_nothing_else() -> None:
    assert set((CHART / "files").iterdir()) == {path for path in generated_files() if path.parent.name == "files"}


def test_the_chart_has_the_version_of_the_operator() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version(), version())


def test_every_value_is_described_and_in_the_schema() -> None:
    described = {name for name, _, _ in described_values()}
    for name, default in VALUES.items():
        schema = SCHEMA["properties"][name]
        if isinstance(default, dict) and default and name != "settings":
            assert schema["properties"].keys() == default.keys()
            assert schema["additionalProperties"] is False
            assert {f"{name}.{key}" for key in default} <= described
        else:
            assert name in described
    assert SCHEMA["properties"].keys() - {"global"} == VALUES.keys()
    assert SCHEMA["additionalProperties"] is False


def test_the_schema_names_the_settings_of_the_operator() -> None:
    names = {f"PROJECTSETUP_{name.upper()}" for name in Settings.model_fields if name not in SET_BY_THE_CHART}
    assert SCHEMA["properties"]["settings"]["properties"].keys() == names
