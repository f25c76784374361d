"""The statements of the record. Every write is a single statement.

SQLAlchemy compiles them once, when this module is imported: compiling takes longer than a call.
Parameters `at_…` select the row, parameters `to_…` are its new values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import (
    Boolean,
    Text,
    and_,
    bindparam,
    case,
    delete,
    false,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.engine import make_url

from projectsetup.projects.model import ENDED, IN_PROGRESS, ProjectStatus
from projectsetup.projects.table import PROJECT_REPOSITORIES, PROJECTS, SETUP_ATTEMPTS, SETUP_LOG_ROWS, SETUP_LOGS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any

    from sqlalchemy import CTE, ColumnElement, Select, Table, UpdateBase

ATTEMPT_COLUMNS = tuple(column.name for column in SETUP_ATTEMPTS.c if column.name not in {"id", "project_id"})
"""The columns of `setup_attempts` that describe an attempt."""

_DIALECT = make_url("postgresql+psycopg://").get_dialect()()


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL for psycopg, and its constant parameters."""

    sql: str
    constants: Mapping[str, Any]
    reads: bool
    """Whether it changes nothing and so may be repeated."""


def _written(expression: Select[Any] | UpdateBase, columns: Collection[str] | None = None) -> Statement:
    """Compile a statement; `columns` are those that an insert fills, each from the parameter of that name."""
    compiled = expression.compile(dialect=_DIALECT, column_keys=columns)
    given = {bind.key for bind in compiled.binds.values() if bind.required}
    constants = {name: value for name, value in compiled.params.items() if name not in given}
    return Statement(str(compiled), constants, expression.is_select)


def _with_history(statement: Statement) -> Statement:
    """The statement, which changes one project and also ends its attempts `to_history`, a JSON array."""
    columns = ", ".join(ATTEMPT_COLUMNS)
    sql = f"""
WITH changed AS ({statement.sql}), ended AS (
    INSERT INTO setup_attempts (project_id, {columns})
    SELECT changed.id, {", ".join(f"past.{name}" for name in ATTEMPT_COLUMNS)}
    FROM changed, jsonb_populate_recordset(NULL::setup_attempts, %(to_history)s) AS past
)
SELECT * FROM changed
"""  # noqa: S608  # no input in it
    return replace(statement, sql=sql)


def _status_in(statuses: Iterable[ProjectStatus]) -> ColumnElement[bool]:
    """One literal for each status: a list parameter is only expanded at each call."""
    return PROJECTS.c.status.in_([literal(status, PROJECTS.c.status.type) for status in sorted(statuses)])


_C = PROJECTS.c
_ID = _C.id == bindparam("at_id")
_SAME_FENCE = _C.fence == bindparam("at_fence")
_UNMOVED = or_(bindparam("at_fence", type_=_C.fence.type).is_(None), _SAME_FENCE)
_OWNED = _C.owner_uid == bindparam("at_owner_uid")
_MOVES = _C.namespace.is_distinct_from(bindparam("to_namespace", type_=_C.namespace.type))
_OWN_NAMESPACE = _C.namespace == bindparam("at_namespace", type_=_C.namespace.type)
_OWN_OR_UNASSIGNED = or_(
    _OWN_NAMESPACE, and_(_C.namespace.is_(None), ~bindparam("at_namespace_required", type_=Boolean()))
)
_HAS_ENDED = _status_in(ENDED)
_FIELDS = ("name", "description", "code_repo", "docs_repo", "namespace")
_UNOWNED = {"owner_uid": None, "owner_namespace": None, "owner_name": None}
_QUEUED_WITHOUT_OWNER = and_(_C.status == ProjectStatus.SETUP_QUEUED, _C.owner_uid.is_(None))
_STARTABLE = or_(_status_in((ProjectStatus.CREATED, ProjectStatus.FAILED)), _QUEUED_WITHOUT_OWNER)
_BEING_SET_UP = or_(_status_in(IN_PROGRESS), and_(_C.status == ProjectStatus.SETUP_QUEUED, _C.owner_uid.is_not(None)))
_ALL = select(PROJECTS).order_by(_C.inserted_at, _C.id)
_MOVING_FENCE = update(PROJECTS).where(_ID).values(fence=_C.fence + 1)

BY_ID = _written(select(PROJECTS).where(_ID))
"""The one project."""

BY_NAME = _written(select(PROJECTS).where(_C.name == bindparam("at_name")))
"""The one project with this name."""

BY_REPOSITORY = _written(
    select(PROJECTS)
    .join(PROJECT_REPOSITORIES, PROJECT_REPOSITORIES.c.project_id == _C.id)
    .where(PROJECT_REPOSITORIES.c.key == func.project_repository_key(bindparam("at_url", type_=Text())))
)
"""The one project with this repository, however its URL is spelled."""

ALL = _written(_ALL)
"""Every project, oldest first."""

OWNED = _written(_ALL.where(_C.owner_uid.is_not(None), ~_HAS_ENDED))
"""Every project with an owner and an unfinished setup."""


def _insert_none(table: Table) -> CTE:
    columns = [column for column in table.c if column.identity is None]
    nothing = select(*columns).where(false())
    return insert(table).from_select(columns, nothing, include_defaults=False).cte(f"no_{table.name}")


_CHANGE_NONE = (
    update(PROJECTS)
    .where(false())
    .values(fence=_C.fence)
    .returning(PROJECTS)
    .add_cte(*map(_insert_none, (PROJECTS, SETUP_ATTEMPTS, SETUP_LOGS, SETUP_LOG_ROWS)))
    .add_cte(update(SETUP_LOGS).where(false()).values(lines_left_out=0).cte("no_change"))
    .add_cte(*(delete(table).where(false()).cte(f"no_{table.name}_deleted") for table in (SETUP_LOGS, SETUP_LOG_ROWS)))
)
PROBE = replace(_written(_CHANGE_NONE), reads=True)
"""Selects, inserts, updates and deletes no row, but names every column: fails if the schema is of another version, the
server is read-only or the role lacks rights."""

TRY_WRITE = Statement(
    """
DO $$
BEGIN
    UPDATE projects SET attempt_result = (SELECT jsonb_agg(gen_random_uuid()) FROM generate_series(1, 250))
    WHERE id = (SELECT id FROM projects LIMIT 1 FOR UPDATE SKIP LOCKED);
    RAISE EXCEPTION USING ERRCODE = 'PS000', MESSAGE = 'rollback';
EXCEPTION
    WHEN SQLSTATE 'PS000' THEN NULL;
END
$$""",
    {},
    reads=True,
)
"""Writes some pages and rolls back, in one statement: fails if the disk is full. Skips locked rows, and leaves no row
locked if this process freezes."""

CREATE = _written(insert(PROJECTS).returning(PROJECTS), columns=("id", *_FIELDS))
"""A new project."""

CLAIM = _written(
    _MOVING_FENCE.where(_OWN_OR_UNASSIGNED, or_(_STARTABLE, and_(_OWNED, _C.status != ProjectStatus.READY)), _UNMOVED)
    .values(
        namespace=bindparam("at_namespace"),
        owner_uid=bindparam("at_owner_uid"),
        owner_namespace=bindparam("at_namespace"),
        owner_name=bindparam("to_owner_name"),
        attempt=bindparam("to_attempt"),
        status=bindparam("to_status"),
        setup_error=None,
        attempt_result=None,
    )
    .returning(PROJECTS)
)
"""Claims the project for an owner and its namespace, unless another owner has it. `claims.refusal` says why not."""

MARK = _written(update(PROJECTS).where(_ID, _SAME_FENCE).values(status=bindparam("to_status")).returning(_C.id))
"""Sets the status if the fence still matches; returns the id."""

FINISH = _with_history(
    _written(
        _MOVING_FENCE.where(_SAME_FENCE)
        .values(
            status=bindparam("to_status"),
            setup_error=bindparam("to_setup_error"),
            attempt_result=bindparam("to_attempt_result"),
            attempt=func.coalesce(bindparam("to_attempt", type_=_C.attempt.type), _C.attempt),
        )
        .returning(_C.id)
    )
)
"""Ends the attempt if the fence still matches, and increments the fence; may correct its number; returns the id."""

RELEASE = _with_history(
    _written(
        _MOVING_FENCE.where(_OWNED, _UNMOVED)
        .values(
            **_UNOWNED,
            status=case((_HAS_ENDED, _C.status), else_=ProjectStatus.CREATED),
            attempt=case((_HAS_ENDED, _C.attempt), else_=0),
            setup_error=case((_HAS_ENDED, _C.setup_error), else_=null()),
            attempt_result=case((_HAS_ENDED, _C.attempt_result), else_=null()),
        )
        .returning(PROJECTS)
    )
)
"""Removes the owner; an unfinished setup goes back to `created`."""

QUEUE = _written(
    _MOVING_FENCE.where(or_(_OWN_NAMESPACE, _C.namespace.is_(None)), _STARTABLE)
    .values(**_UNOWNED, status=ProjectStatus.SETUP_QUEUED, setup_error=None)
    .returning(PROJECTS)
)
"""Opens the project to the next claim from that namespace and removes the last owner."""

CHANGE = _written(
    _MOVING_FENCE.where(_SAME_FENCE, ~_BEING_SET_UP)
    .values({name: bindparam(f"to_{name}") for name in _FIELDS})
    .values({name: case((_MOVES, null()), else_=_C[name]) for name in _UNOWNED})
    .returning(PROJECTS)
)
"""Changes the fields, unless the project is being set up; a new namespace also removes the owner."""

RESET = _written(
    _MOVING_FENCE.where(~_BEING_SET_UP)
    .values(**_UNOWNED, status=ProjectStatus.CREATED, attempt=0, setup_error=None, attempt_result=None)
    .returning(PROJECTS)
)
"""Sets the project back to `created`, unless it is being set up."""

REMOVE = _written(delete(PROJECTS).where(_ID, ~_BEING_SET_UP).returning(PROJECTS))
"""Deletes the project, unless it is being set up."""
