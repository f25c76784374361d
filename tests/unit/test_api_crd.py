from __future__ import annotations

from pathlib import Path
from typing import Any

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


def test_the_only_status_default_is_observed_generation() -> None:
    status = root_schema()["properties"]["status"]
    assert [path for path, schema in schemas(status, "status") if "default" in schema] == ["status"]
    assert status["default"] == {"observedGeneration": -1}
