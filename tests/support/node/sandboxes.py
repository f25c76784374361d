"""Operators on a cluster with a real node: a sandbox for each, with a database of its own and recipes for busybox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import psycopg

from devcluster import Cluster
from devcluster.images import BUSYBOX
from projectsetup.projects.migrate import migrate
from tests.conftest import on_database
from tests.support.operator_sandbox import Sandbox

SCRIPTS: Final = f"""\
name: scripts
description: Three steps, each the script that its parameter holds
image: {BUSYBOX}
parameters:
  first: {{default: ":"}}
  second: {{default: ":", description: sees the git credentials}}
  third: {{default: ":"}}
  odd: {{default: "", description: text that a shell would understand}}
steps:
- {{name: first, status: initializing, run: eval "$PARAM_FIRST", env: {{OWN: of the first}}}}
- name: second
  status: compiling
  run: eval "$PARAM_SECOND"
  credentials: true
  timeout: 2s
  env: {{OWN: of the second}}
  retry: {{exitCodes: [42], output: ["Connection reset", "(?i)temporary failure", "(?:not|never) no\\\\w\\\\b"]}}
- {{name: third, status: committing, run: eval "$PARAM_THIRD"}}
"""
TOGETHER: Final = f"""\
name: together
description: Three steps in one container of the Job engine
image: {BUSYBOX}
parameters:
  first: {{default: ":"}}
  second: {{default: ":"}}
  third: {{default: ":"}}
steps:
- {{name: first, status: initializing, run: eval "$PARAM_FIRST"}}
- {{name: second, status: compiling, run: eval "$PARAM_SECOND", timeout: 2s}}
- {{name: third, status: committing, run: eval "$PARAM_THIRD"}}
"""


def write_recipes(folder: Path, *texts: str) -> Path:
    """A folder of recipes with these and the two above."""
    recipes = folder / "recipes"
    recipes.mkdir()
    for text in (SCRIPTS, TOGETHER, *texts):
        name = text.partition("\n")[0].removeprefix("name: ")
        (recipes / f"{name}.yaml").write_text(text)
    return recipes


@contextmanager
def node_sandbox(cluster: Cluster, folder: Path, *recipes: str, **settings: str) -> Iterator[Sandbox]:
    """A sandbox on the cluster, whose operator, not started yet, runs Jobs unless `settings` say otherwise."""
    folder.mkdir()
    name = f"stage_{uuid4().hex[:12]}"
    with psycopg.connect(cluster.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = on_database(cluster.database_url, name)
    migrate(url)
    settings = {"engine": "job", "recipes_dir": str(write_recipes(folder, *recipes)), **settings}
    sandbox = Sandbox(folder, kubeconfig=cluster.kubeconfig, database_url=url, environment=None, **settings)
    try:
        yield sandbox
    finally:
        sandbox.operator.close()
        sandbox.api.kubectl("delete", "namespace", sandbox.api.namespace, "--wait=false")
