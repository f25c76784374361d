from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from projectsetup.api.crd import build_crd, render_crd

CRD_FILE = Path(__file__).parents[2] / "crds" / "projectsetups.yaml"


def schemas(node: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any]]]:
    """Every schema below `node`, with its path."""
    children = [(f"{path}.{name}", child) for name, child in node.get("properties", {}).items()]
    children += [(f"{path}.{key}", node[key]) for key in ("items", "additionalProperties") if key in node]
    return [(path, node), *(found for name, child in children for found in schemas(child, name))]


def root_schema() -> dict[str, Any]:
    schema: dict[str, Any] = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def test_the_file_is_not_stale() -> None:
    assert CRD_FILE.read_text() == render_crd(), "run: projectsetup crd > crds/projectsetups.yaml"


def test_the_file_says_how_to_regenerate_it() -> None:
    assert "projectsetup crd > crds/projectsetups.yaml" in CRD_FILE.read_text().splitlines()[1]


def test_the_yaml_is_the_built_object() -> None:
    assert yaml.safe_load(render_crd()) == build_crd()


def test_every_field_is_typed_and_described() -> None:
    for path, schema in schemas(root_schema(), ""):
        assert schema.get("type"), path
        assert schema.get("description") or path == ".metadata", path  # the API server describes it itself
        assert "\n" not in schema.get("description", ""), path
        assert not {"$ref", "anyOf", "title", "nullable"} & schema.keys(), path
        assert not any("preserve-unknown-fields" in key for key in schema), path


def test_everything_is_bounded() -> None:
    for path, schema in schemas(root_schema(), ""):
        if schema["type"] == "array":
            assert "maxItems" in schema, path
        if "additionalProperties" in schema:
            assert "maxProperties" in schema, path
        if schema["type"] == "string" and path not in {".apiVersion", ".kind"}:
            assert {"maxLength", "enum"} & schema.keys() or schema.get("format") == "date-time", path


def test_the_defaults_make_an_empty_spec_work() -> None:
    spec = root_schema()["properties"]["spec"]
    defaults = {name: field["default"] for name, field in spec["properties"].items() if "default" in field}
    assert spec["default"] == {}
    assert defaults == {"recipe": "python-service", "parameters": {}, "suspend": False, "timeout": "30m"}


def test_the_only_status_default_is_observed_generation() -> None:
    status = root_schema()["properties"]["status"]
    assert [path for path, schema in schemas(status, "status") if "default" in schema] == ["status"]
    assert status["default"] == {"observedGeneration": -1}


def test_printer_columns() -> None:
    columns = build_crd()["spec"]["versions"][0]["additionalPrinterColumns"]
    short = [column["name"].upper() for column in columns if not column.get("priority")]
    wide = [column["name"].upper() for column in columns if column.get("priority")]
    assert short == ["PHASE", "STATUS", "STEP", "PROGRESS", "ATTEMPT", "PRIORITY", "AGE"]
    assert wide == ["REASON", "MESSAGE"]
