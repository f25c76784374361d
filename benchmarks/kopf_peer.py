"""The peer: the same setup written with plain kopf, as its documentation recommends.

It uses `on.create` with retries, stores progress in the resource, claims and finishes the project with the same SQL,
and runs steps as processes. docs/performance.md lists what it lacks.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any
from uuid import UUID

import kopf
from psycopg.types.json import Jsonb
from sqlalchemy.ext.asyncio import create_async_engine

from projectsetup.projects import statements
from projectsetup.projects.model import ProjectStatus
from projectsetup.projects.statements import Statement

_AT_ONCE = int(os.environ["PEER_CONCURRENCY"])
_SCRIPTS = os.environ["PEER_SCRIPTS"].split("\n")
_engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://"), pool_size=_AT_ONCE
)
_slots = asyncio.Semaphore(_AT_ONCE)


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Post only the events that the handler requests."""
    settings.posting.enabled = os.environ["PEER_EVENTS"] == "true"
    settings.peering.standalone = True


@kopf.on.create("codemyspec.com", "v1alpha1", "projectsetups", retries=3, backoff=15)
async def set_up(body: kopf.Body, uid: str, name: str, namespace: str | None, patch: kopf.Patch, **_: Any) -> None:
    """Claim the project, run its steps, record the result and report it."""
    async with _slots:
        claimed = await _one(
            statements.CLAIM,
            at_id=UUID(name),
            at_fence=None,
            at_owner_uid=uid,
            at_namespace=namespace,
            at_namespace_required=False,
            to_owner_name=name,
            to_attempt=1,
            to_status=ProjectStatus.INITIALIZING,
        )
        if claimed is None:
            raise kopf.PermanentError("the project cannot be claimed")
        kopf.info(body, reason="Started", message="the setup has started")
        for script in _SCRIPTS:
            environment = {"PATH": os.defpath, "PROJECT_ID": name}
            process = await asyncio.create_subprocess_exec("sh", "-euc", script, env=environment)
            if await process.wait() != 0:
                raise kopf.TemporaryError("the step failed")
        await _one(
            statements.FINISH,
            at_id=UUID(name),
            at_fence=claimed.fence,
            to_status=ProjectStatus.READY,
            to_setup_error=None,
            to_attempt_result=Jsonb({"kind": "Succeeded"}),
            to_attempt=None,
            to_history=Jsonb([]),
        )
    kopf.info(body, reason="Succeeded", message="the project was set up and is ready")
    patch.status["phase"] = "Succeeded"
    patch.status["projectStatus"] = "ready"


async def _one(statement: Statement, **values: object) -> Any:
    async with _engine.begin() as connection:
        return (await connection.exec_driver_sql(statement.sql, {**statement.constants, **values})).first()
