"""What Argo CD makes of an object with the settings of `manifests/argocd/argocd-cm.yaml`, by its own program."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import Any, Final

import yaml

from devcluster.build import build_program
from projectsetup.api.constants import API_VERSION, KIND
from tests.support.go_modules import ARGOCD
from tests.support.manifests import MANIFESTS

FOLDER: Final = MANIFESTS / "argocd"
_SETTINGS: Final = FOLDER / "argocd-cm.yaml"
_PRINT_NEW: Final = """sh -c 'cat "$2"' sh"""
"""In place of `diff OLD NEW`."""
_NO_CLUSTER: Final = "--server=http://127.0.0.1:1"
"""`rbac can` wants a configured cluster, and asks it nothing if it has a policy."""
_LIMIT: Final = 60.0

_KIND: Final = {"apiVersion": API_VERSION, "kind": KIND}

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Health:
    """The result of a health check."""

    status: str
    message: str


def health(body: Mapping[str, Any]) -> Health:
    """The health of an object. Like the other functions, raises DevclusterError if Argo CD cannot be built."""
    status, message = _override("health", body).split("\n", 1)
    return Health(status.removeprefix("STATUS: "), message.removeprefix("MESSAGE: ").rstrip("\n"))


def available(body: Mapping[str, Any]) -> set[str]:
    """The names of the actions that are enabled on an object."""
    rows = [line.split() for line in _override("list-actions", body).splitlines()[1:]]
    return {name for name, disabled in rows if disabled == "false"}


def action(name: str, body: Mapping[str, Any]) -> Body:
    """The merge patch of this action."""
    _, _, changed = _override("run-action", body, name).partition("\n\n")
    return _difference({**_KIND, **body}, yaml.safe_load(changed))


def may(policy: str, *arguments: str) -> bool:
    """Whether an RBAC policy allows the subject to do this: `rbac can SUBJECT ACTION RESOURCE OBJECT`."""
    with NamedTemporaryFile("w", suffix=".csv") as file:
        file.write(policy)
        file.flush()
        answer = _run("rbac", "can", *arguments, f"--policy-file={file.name}", _NO_CLUSTER, codes=(0, 1))
    assert answer in {"Yes\n", "No\n"}, answer
    return answer == "Yes\n"


def _override(what: str, body: Mapping[str, Any], *arguments: str) -> str:
    with NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({**_KIND, **body}, file)
        file.flush()
        return _run("resource-overrides", what, file.name, *arguments, f"--argocd-cm-path={_SETTINGS}")


def _run(*arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    program = build_program("argocd", ARGOCD)
    done = subprocess.run(
        [program, "admin", "settings", *arguments],
        env={**os.environ, "KUBECTL_EXTERNAL_DIFF": _PRINT_NEW},
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT,
    )
    assert done.returncode in codes, done.stderr
    return done.stdout


def _difference(before: Mapping[str, Any], after: Body) -> Body:
    """The merge patch from `before` to `after`."""
    changes: Body = {}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            if inner := _difference(old, value):
                changes[name] = inner
        elif old != value:
            changes[name] = value
    return changes
