"""The attacker has the operator's database role, which reads and writes rows, and may make temporary tables.

The attacker wants the rights of the role that ran the migrations, which may be a superuser.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import psycopg
import pytest

LOOKALIKE: Final = """
CREATE TEMPORARY TABLE mine (id uuid, code_repo text, docs_repo text);
CREATE TEMPORARY TABLE project_repositories (key text PRIMARY KEY, project_id uuid, field text);
"""
ATTACK: Final = """
CREATE FUNCTION pg_temp.project_repository_key(text) RETURNS text LANGUAGE plpgsql AS
$$ BEGIN ALTER ROLE {role} SUPERUSER; RETURN $1; END $$
"""
ATTACH: Final = "CREATE TRIGGER mine AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION {function}()"
OF_THE_OWNER: Final = """
SELECT p.oid::regproc::text, prorettype = 'trigger'::regtype, has_function_privilege(p.oid, 'EXECUTE')
FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
WHERE prosecdef AND nspname = 'public'
"""


@pytest.fixture
def role(database_url: str) -> Iterator[str]:
    name = f"role_{secrets.token_hex(4)}"
    with psycopg.connect(database_url, autocommit=True) as sql:
        sql.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'geheim'")
        sql.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON projects TO {name}")
        yield name
        sql.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_an_attacker_cannot_inject_functions(database_url: str, role: str) -> None:
    parts = urlsplit(database_url)
    mine = parts._replace(netloc=f"{role}:geheim@{parts.netloc.rpartition('@')[2]}").geturl()
    with psycopg.connect(mine, autocommit=True) as attacker:
        attacker.execute(LOOKALIKE)
        attacker.execute(ATTACK.format(role=role))
        functions = attacker.execute(OF_THE_OWNER).fetchall()
        assert functions, "no function runs with the rights of its owner: delete this test"
        assert [name for name, _, executable in functions if executable] == []
        for function in (name for name, is_trigger, _ in functions if is_trigger):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                attacker.execute(ATTACH.format(function=f"public.{function}"))
        is_superuser = attacker.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    assert is_superuser == (False,)
