"""The CustomResourceDefinition, generated from the pydantic models."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import yaml
from pydantic.json_schema import GenerateJsonSchema

from projectsetup.api.constants import (
    API_VERSION,
    CATEGORY,
    GROUP,
    KIND,
    PLURAL,
    PRIORITY,
    SHORT_NAME,
    SINGULAR,
    VERSION,
)
from projectsetup.api.durations import format_duration
from projectsetup.api.resource import PROJECT_ID_PATTERN
from projectsetup.api.spec import ProjectSetupSpec
from projectsetup.api.status import ProjectSetupStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

_HEADER: Final = """\
# Generated from the models in operator/projectsetup/api; do not edit. To regenerate it:
#   projectsetup crd > crds/projectsetups.yaml
"""

_KEPT: Final = {"helm.sh/resource-policy": "keep", "kustomize.toolkit.fluxcd.io/prune": "disabled"}
"""Helm and Flux leave the CRD when they remove the operator: without it, every ProjectSetup would be gone.

Argo CD never deletes a CRD.
"""

_NOT_SEEN_YET: Final = {"observedGeneration": -1}
"""kstatus treats an object without a status as ready; with this, as one that has not been reconciled yet."""

_ATOMIC: Final = {"x-kubernetes-map-type": "atomic"}
"""`.status` has one writer, so it needs no managed fields: they take a fifth of each write, and of the object."""


def build_crd() -> dict[str, Any]:
    """The CustomResourceDefinition as an object of the Kubernetes API."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}", "annotations": _KEPT},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": SINGULAR,
                "shortNames": [SHORT_NAME],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _schema()},
                    "subresources": {"status": {}},
                    "selectableFields": [{"jsonPath": ".spec.recipe"}, {"jsonPath": ".status.phase"}],
                    "additionalPrinterColumns": _printer_columns(),
                }
            ],
        },
    }


def render_crd() -> str:
    """The CustomResourceDefinition as YAML, the same text every time."""
    return _HEADER + yaml.safe_dump(build_crd(), sort_keys=False, width=120, allow_unicode=True)


def _schema() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "Sets up one software project. The name of this object is the id of the project.",
        "x-kubernetes-validations": [
            {
                "rule": f"self.metadata.name.matches('{PROJECT_ID_PATTERN}')",
                "message": "metadata.name must be a project id, a UUID in lower case; "
                "run `projectsetup projects list` to find it",
            },
            {
                "rule": "has(self.spec.project) == has(oldSelf.spec.project)",
                "message": "spec.project is immutable; delete the ProjectSetup and create a new one",
            },
        ],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Version of this schema: `{API_VERSION}`."},
            "kind": {"type": "string", "description": f"Kind of this object: `{KIND}`."},
            "metadata": {"type": "object"},
            "spec": structural_schema(ProjectSetupSpec, defaults=True) | {"default": {}},
            "status": structural_schema(ProjectSetupStatus, defaults=False) | {"default": _NOT_SEEN_YET, **_ATOMIC},
        },
    }


def _printer_columns() -> list[dict[str, Any]]:
    escaped = PRIORITY.replace(".", r"\.")
    succeeded = '.status.conditions[?(@.type=="Succeeded")]'
    return [
        _column("Project", ".status.projectName"),
        _column("Phase", ".status.phase"),
        _column("Status", ".status.projectStatus"),
        _column("Step", ".status.step"),
        _column("Progress", ".status.progress"),
        _column("Attempt", ".status.attempt", type="integer"),
        _column("Priority", f".metadata.annotations.{escaped}", description="0 starts first; default: 1"),
        _column("Age", ".metadata.creationTimestamp", type="date"),
        _column("Reason", f"{succeeded}.reason", priority=1),
        _column("Message", f"{succeeded}.message", priority=1),
    ]


def _column(name: str, path: str, **others: Any) -> dict[str, Any]:
    return {"name": name, "type": "string", "jsonPath": path} | others


_DROPPED: Final = {"$defs", "title", "anyOf", "$ref"}

_READING_ORDER: Final = ("description", "type", "format", "enum", "default")


class _GenerateSchema(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def structural_schema(model: type[BaseModel], *, defaults: bool) -> dict[str, Any]:
    """The schema of `model` without references, titles and null.

    A field that may be None may be absent. Without `defaults` the API server fills in no default.
    """
    schema = model.model_json_schema(by_alias=True, schema_generator=_GenerateSchema)
    return _structural(schema, schema.get("$defs", {}), defaults=defaults)


def _structural(node: Mapping[str, Any], definitions: Mapping[str, Any], *, defaults: bool) -> dict[str, Any]:
    merged = _inlined(node, definitions)
    if not defaults or merged.get("default") is None:
        merged.pop("default", None)
    if "description" in merged:
        merged["description"] = " ".join(merged["description"].split())
    if "properties" in merged:
        merged["properties"] = {
            name: _structural(child, definitions, defaults=defaults) for name, child in merged["properties"].items()
        }
    for key in ("items", "additionalProperties"):
        if isinstance(merged.get(key), dict):
            merged[key] = _structural(merged[key], definitions, defaults=defaults)
    return {key: merged[key] for key in sorted(merged, key=_place)}


def _place(key: str) -> tuple[int, str]:
    """The keys in `_READING_ORDER` first, then the limits by name, the children last."""
    if key in _READING_ORDER:
        return _READING_ORDER.index(key), key
    return len(_READING_ORDER) + (key in {"properties", "items", "additionalProperties"}), key


def _inlined(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """`node` merged over the definition it refers to; its own keys, such as its description, win."""
    base: dict[str, Any] = {}
    if "$ref" in node:
        base = _inlined(definitions[node["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in node:
        (choice,) = (choice for choice in node["anyOf"] if choice != {"type": "null"})
        base = _inlined(choice, definitions)
    return base | {key: value for key, value in node.items() if key not in _DROPPED}
