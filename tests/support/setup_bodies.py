"""ProjectSetups as the API server would hand them out, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from projectsetup.api.models import (
    ConditionStatus,
    ProjectSetupResource,
    ProjectSetupStatus,
    RunRef,
    parse_resource,
    status_to_dict,
)
from projectsetup.api.reasons import SUCCESSES, WAITING, Reason
from projectsetup.api.status import conditions_for, phase_of

NOON: Final = datetime(2026, 11, 24, 12, tzinfo=UTC)
NAME: Final = "0b6f1c1e-5a43-4d0c-8e3e-5ad5f0f2a001"
RUN: Final = RunRef(engine="local", name="attempt-1", id="run-1")


def status(reason: Reason, message: str = "", **fields: Any) -> dict[str, Any]:
    """A status whose `Succeeded` has this reason, as it is written."""
    succeeded: ConditionStatus = "Unknown" if reason in WAITING else "True" if reason in SUCCESSES else "False"
    conditions = conditions_for(status=succeeded, reason=reason, message=message, generation=1, previous=(), now=NOON)
    told = ProjectSetupStatus(conditions=conditions, phase=phase_of(conditions, fields.get("run_ref")), **fields)
    return status_to_dict(told)


def body(
    told: Mapping[str, Any] | None = None,
    *,
    annotations: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """A ProjectSetup with the status `told`, none before an operator has seen it."""
    return {
        "metadata": {
            "name": NAME,
            "namespace": "team-a",
            "uid": "uid-1",
            "generation": 1,
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-24T11:00:00Z",
            "annotations": dict(annotations or {}),
            **metadata,
        },
        "spec": {"recipe": "python-service", "parameters": {}, "timeout": "30m", **(spec or {})},
        "status": dict(told or {}),
    }


def resource(told: Mapping[str, Any] | None = None, **fields: Any) -> ProjectSetupResource:
    """`body`, parsed."""
    return parse_resource(body(told, **fields))
