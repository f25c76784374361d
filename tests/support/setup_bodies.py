"""ProjectSetups as the API server returns them, for tests of their presentation."""

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
    """A status as written to the API server, whose condition `Succeeded` has this reason."""
    succeeded: ConditionStatus = "Unknown" if reason in WAITING else "True" if reason in SUCCESSES else "False"
    conditions = conditions_for(status=succeeded, reason=reason, message=message, generation=1, previous=(), now=NOON)
    written = ProjectSetupStatus(conditions=conditions, phase=phase_of(conditions, fields.get("run_ref")), **fields)
    return status_to_dict(written)


def body(
    reported: Mapping[str, Any] | None = None,
    *,
    annotations: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """A ProjectSetup with the status `reported`; without it, no operator has reconciled the resource."""
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
        "status": dict(reported or {}),
    }


def resource(reported: Mapping[str, Any] | None = None, **fields: Any) -> ProjectSetupResource:
    """`body`, parsed."""
    return parse_resource(body(reported, **fields))
