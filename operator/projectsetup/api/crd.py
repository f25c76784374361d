"""The CustomResourceDefinition, generated from the models."""

from __future__ import annotations

from typing import Any, Final

import yaml

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
from projectsetup.api.resource import PROJECT_ID_PATTERN
from projectsetup.api.spec import ProjectSetupSpec
from projectsetup.api.status import ProjectSetupStatus
from projectsetup.api.structural_schema import structural_schema

_HEADER: Final = """\
# Generated from the models in operator/projectsetup/api; do not edit. To write it anew:
#   projectsetup crd > crds/projectsetups.yaml
"""

_NOT_SEEN_YET: Final = {"observedGeneration": -1}
"""kstatus takes an object without a status for ready, and one with this for one that nobody has looked at yet."""

_WRITTEN_AS_A_WHOLE: Final = {"x-kubernetes-map-type": "atomic"}
"""One writer needs no account of who wrote which field of `.status`: it takes a fifth of a write, and of the size."""


def build_crd() -> dict[str, Any]:
    """The CustomResourceDefinition as an object of the Kubernetes API."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
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
        "description": "Sets up the software project whose id is the name of this object.",
        "x-kubernetes-validations": [
            {
                "rule": f"self.metadata.name.matches('{PROJECT_ID_PATTERN}')",
                "message": "metadata.name must be the id of a project, a UUID in lower case: "
                "take it from `projectsetup projects list`",
            }
        ],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Version of this schema: `{API_VERSION}`."},
            "kind": {"type": "string", "description": f"Kind of this object: `{KIND}`."},
            "metadata": {"type": "object"},
            "spec": structural_schema(ProjectSetupSpec, defaults=True) | {"default": {}},
            "status": structural_schema(ProjectSetupStatus, defaults=False)
            | {"default": _NOT_SEEN_YET, **_WRITTEN_AS_A_WHOLE},
        },
    }


def _printer_columns() -> list[dict[str, Any]]:
    escaped = PRIORITY.replace(".", r"\.")
    succeeded = '.status.conditions[?(@.type=="Succeeded")]'
    return [
        _column("Phase", ".status.phase"),
        _column("Status", ".status.projectStatus"),
        _column("Step", ".status.step"),
        _column("Progress", ".status.progress"),
        _column("Attempt", ".status.attempt", type="integer"),
        _column("Priority", f".metadata.annotations.{escaped}", description="0 is served first; empty: 1, the default"),
        _column("Age", ".metadata.creationTimestamp", type="date"),
        _column("Reason", f"{succeeded}.reason", priority=1),
        _column("Message", f"{succeeded}.message", priority=1),
    ]


def _column(name: str, path: str, **others: Any) -> dict[str, Any]:
    return {"name": name, "type": "string", "jsonPath": path} | others
