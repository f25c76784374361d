"""What the operator tells about itself, and whom it serves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg

from tests.support.api_server import UNSEEN
from tests.support.exposition import Exposition
from tests.support.operator_stage import Stage
from tests.support.setup_handle import Setup

NewStage = Callable[..., AbstractContextManager[Stage]]


def test_health_readiness_and_metrics(stage: Stage) -> None:
    Setup.make(stage).ended()
    assert stage.operator.get("/healthz") == (200, "ok\n")
    code, text = stage.operator.get("/readyz")
    assert code == 200
    assert {"database: ok", "api server: ok", "watch: ok"} <= set(text.splitlines())
    code, text = stage.operator.get("/metrics")
    assert code == 200
    found = Exposition(text)
    assert found.value("projectsetup_setups_ended_total", outcome="Succeeded", reason="SetupSucceeded") >= 1
    assert found.value("projectsetup_leading") == 1
    assert stage.operator.get("/nothing")[0] == 404


def test_tables_that_are_made_later_are_waited_for(new_stage: NewStage) -> None:
    with new_stage() as stage, psycopg.connect(stage.database_url, autocommit=True) as connection:
        setup = Setup.make(stage)
        connection.execute("ALTER TABLE projects RENAME TO hidden")
        stage.operator.start(ready=False)
        setup.waits_for("DatabaseUnavailable")
        code, text = stage.operator.get("/readyz")
        assert code == 503
        assert "run projectsetup migrate" in text
        assert stage.operator.get("/healthz")[0] == 200
        connection.execute("ALTER TABLE hidden RENAME TO projects")
        assert setup.ended()[0] == "SetupSucceeded"
        assert stage.operator.is_ready()


def test_only_the_namespaces_that_are_named_are_served(new_stage: NewStage, stage: Stage) -> None:
    with new_stage() as other:
        foreign = Setup.make(other)
        assert Setup.make(stage).ended()[0] == "SetupSucceeded"
        assert foreign.status == UNSEEN
        assert foreign.record["status"] == "created"


def test_all_namespaces_are_served_where_none_is_named(new_stage: NewStage) -> None:
    with new_stage(namespaces="", concurrency="1") as stage:
        setup = Setup.make(stage)
        stage.operator.start()
        assert setup.ended()[0] == "SetupSucceeded"
