"""Applications that request setups in SQL while the database may be killed, and what must become of each request."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row

from tests.support.chaos.fault_run import FaultRun, FaultSetup
from tests.support.recipe_policy import FORBIDDEN, REFUSAL

LIMIT: Final = 90.0
"""Seconds that an application waits for the database."""
PLANS: Final = {
    "one request": 9,
    "two requests": 2,
    "cancelled later": 2,
    "cancelled at once": 1,
    "too large": 1,
    "forbidden": 1,
    "rolled back": 2,
    "connection lost": 1,
}
"""What an application does with a project, and the weight of each choice."""
LEAVE_NOTHING: Final = frozenset({"rolled back", "connection lost"})
SET_UP: Final = frozenset({"one request", "two requests", "cancelled later"})
REQUESTS: Final = {
    "two requests": 2,
    "cancelled later": 2,
    "cancelled at once": 2,
    "rolled back": 0,
    "connection lost": 0,
}
"""The requests that a plan commits, if not one."""
WITHDRAWN: Final = "cancelled before it started"
_INSERT: Final = (
    "INSERT INTO projects (id, name, code_repo) VALUES (%(id)s::uuid, %(id)s, '/nowhere/' || %(id)s) RETURNING id"
)
_SETUP: Final = (
    "SELECT setup_project(%(id)s, recipe => %(recipe)s, parameters => %(parameters)s, priority => %(priority)s,"
    " max_attempts => 20, backoff => '100ms')"
)
_CANCEL: Final = "SELECT cancel_setup(%(id)s)"


@dataclass(slots=True)
class Plan:
    """A project, and what an application does with it."""

    kind: str
    values: dict[str, Any]

    @property
    def project(self) -> str:
        """The id of the project."""
        return str(self.values["id"])

    @property
    def requests(self) -> int:
        """How many requests it commits."""
        return REQUESTS.get(self.kind, 1)


@dataclass(slots=True)
class Applications:
    """Carries out plans on several connections, each in the transactions of an application."""

    run: FaultRun
    plans: list[Plan] = field(default_factory=list)

    @classmethod
    def plan(cls, run: FaultRun, requests: int, rng: random.Random) -> Applications:
        """Plan projects until this many requests are committed."""
        made = cls(run)
        while sum(plan.requests for plan in made.plans) < requests:
            (kind,) = rng.choices(list(PLANS), list(PLANS.values()))
            made.plans.append(Plan(kind, made._values(kind, rng)))
        return made

    def _values(self, kind: str, rng: random.Random) -> dict[str, Any]:
        parameters = {
            "log": str(self.run.step_log.path),
            "behavior": "lingering" if kind == "cancelled later" else "quick",
            "seconds": f"{rng.uniform(0.02, 0.3):.2f}",
            **({"large": "x" * 5000} if kind == "too large" else {}),
        }
        return {
            "id": str(uuid4()),
            "recipe": FORBIDDEN if kind == "forbidden" else "fault-test",
            "parameters": json.dumps(parameters),
            "priority": rng.randint(0, 9),
        }

    @contextmanager
    def at_work(self, connections: int, *, seconds: float, rng: random.Random) -> Iterator[None]:
        """Carry out the plans beside the block, in about so many seconds; ends when all are carried out."""
        shares = [self.plans[part::connections] for part in range(connections)]
        with ThreadPoolExecutor(connections) as pool:
            works = [
                pool.submit(self._carry_out, share, [rng.uniform(0, 2 * seconds / len(share)) for _ in share])
                for share in shares
            ]
            yield
            for work in works:
                work.result()

    def _carry_out(self, plans: Sequence[Plan], pauses: Sequence[float]) -> None:
        for plan, pause in zip(plans, pauses, strict=True):
            time.sleep(pause)
            if plan.kind in LEAVE_NOTHING:
                self._leave_nothing(plan)
                continue
            self._commit(plan, _INSERT, _SETUP, *((_CANCEL,) if plan.kind == "cancelled at once" else ()))
            if plan.kind == "two requests":
                self._commit(plan, _SETUP)
            elif plan.kind == "cancelled later":
                time.sleep(pause)
                self._commit(plan, _CANCEL)

    def _leave_nothing(self, plan: Plan) -> None:
        try:
            sql = psycopg.connect(self.run.sandbox.database_url, connect_timeout=3)
            for statement in (_INSERT, _SETUP):
                sql.execute(statement, plan.values)
            if plan.kind == "rolled back":
                sql.rollback()
            sql.close()
        except psycopg.OperationalError:
            return  # the database was killed: nothing was committed

    def _commit(self, plan: Plan, *statements: LiteralString) -> None:
        """Commit the statements in one transaction; repeat it if the database was unavailable and has nothing of it."""
        before = len(self._requests(plan))
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                with psycopg.connect(self.run.sandbox.database_url, connect_timeout=3) as sql:
                    for statement in statements:
                        sql.execute(statement, plan.values)
            except psycopg.errors.ObjectNotInPrerequisiteState:
                plan.kind = "one request"  # it is ready already
                return
            except psycopg.OperationalError:
                if len(self._requests(plan)) > before:
                    return
            else:
                return
        raise AssertionError(f"waited {LIMIT:.0f} s for the database to commit {plan}")

    def _requests(self, plan: Plan) -> list[dict[str, Any]]:
        """The requests for a project, in order, once the database answers."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                with psycopg.connect(self.run.sandbox.database_url, connect_timeout=3, row_factory=dict_row) as sql:
                    statement = "SELECT * FROM setup_requests WHERE project_id = %s ORDER BY number"
                    return sql.execute(statement, (plan.project,)).fetchall()
            except psycopg.OperationalError:
                time.sleep(0.2)
        raise AssertionError(f"waited {LIMIT:.0f} s for the database")

    def pending(self) -> int:
        """The number of requests that were not handled yet."""
        with psycopg.connect(self.run.sandbox.database_url) as sql:
            row = sql.execute("SELECT count(*) FROM setup_requests WHERE handled_at IS NULL").fetchone()
        return int(row[0]) if row else 0

    def expect_setups(self) -> None:
        """Once all requests are handled, have the run expect a setup of each project that one asked for."""
        sandbox = self.run.sandbox
        for plan in self.plans:
            cancelled = plan.kind == "cancelled later"
            if cancelled and self._requests(plan)[0]["error"] == WITHDRAWN:  # no operator had seen the setup
                plan.kind = "cancelled at once"
            elif plan.kind in SET_UP:
                self.run.setups[plan.project] = FaultSetup(
                    sandbox, sandbox.api, plan.project, behavior="quick", cancelled=cancelled
                )

    def check(self) -> str:
        """Check what became of every project and every request; return the figures."""
        rows, history = self.run.audit_log.rows(), self.run.history.versions
        for plan in self.plans:
            requests = self._requests(plan)
            assert all(row["handled_at"] >= row["requested_at"] for row in requests), requests
            errors = [row["error"] for row in requests]
            uids = {version.body["metadata"]["uid"] for version in history.get(plan.project, ()) if version.body}
            assert len(uids) == (plan.kind in SET_UP), f"{plan}: {uids}"
            if plan.kind in LEAVE_NOTHING:
                assert (plan.project in rows, requests) == (False, []), plan
                assert plan.project not in self.run.starts(), plan
                continue
            record = rows[plan.project]
            reason = (record["setup_error"] or {}).get("reason")
            match plan.kind:
                case "one request" | "two requests":
                    assert errors == [None] * plan.requests, f"{plan}: {errors}"
                case "cancelled later":
                    assert errors[0] is None, f"{plan}: {errors}"
                    assert {*errors[1:]} <= {None, "the setup had already ended"}, f"{plan}: {errors}"
                case "cancelled at once":
                    assert errors == [WITHDRAWN, None], f"{plan}: {errors}"
                    assert (record["status"], reason) == ("failed", "Cancelled"), f"{plan}: {record}"
                case "too large":
                    assert "spec.parameters" in errors[0], f"{plan}: {errors}"
                    assert (record["status"], reason) == ("failed", "InvalidSpec"), f"{plan}: {record}"
                case "forbidden":
                    assert errors[0].endswith(REFUSAL), f"{plan}: {errors}"
                    assert (record["status"], reason) == ("failed", "InvalidSpec"), f"{plan}: {record}"
        counts = Counter(plan.kind for plan in self.plans)
        return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
