"""The part of Argo CD that concerns ProjectSetups: it runs the Lua of `manifests/argocd/argocd-cm.yaml`."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml
from lupa import lua51  # type: ignore[import-untyped]  # its stubs lag behind it

from tests.support.manifests import MANIFESTS, read

ARGOCD: Final = MANIFESTS / "argocd"
SETTINGS: Final = read(ARGOCD / "argocd-cm.yaml")[0]["data"]
ACTIONS: Final = yaml.safe_load(SETTINGS["resource.customizations.actions.codemyspec.com_ProjectSetup"])

LIKE_ARGOCD: Final = """
local time, date = os.time, os.date
package.loaded.os, package.preload.os = nil, function() return {time = time, date = date} end
getmetatable("").__index = nil
os, string, math, io, debug, coroutine = nil, nil, nil, nil, nil, nil
"""
"""Argo CD opens base, package and table, and two functions of `os` to scripts that require it; see its util/lua."""

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Health:
    """The result of a health check."""

    status: str
    message: str


def health(body: Mapping[str, Any], *, kind: str = "codemyspec.com_ProjectSetup") -> Health:
    """The health of an object of this kind."""
    result = _run(SETTINGS[f"resource.customizations.health.{kind}"], body)
    return Health(result["status"], result["message"])


def available(body: Mapping[str, Any]) -> set[str]:
    """The names of the actions that are enabled on an object."""
    found = _run(ACTIONS["discovery.lua"], body)
    assert set(found) == {action["name"] for action in ACTIONS["definitions"]}
    return {name for name in found if not found[name]["disabled"]}


def action(name: str, body: Mapping[str, Any]) -> Body:
    """The merge patch of this action: the changes of its Lua, as Argo CD sends them to the API server."""
    (script,) = (action["action.lua"] for action in ACTIONS["definitions"] if action["name"] == name)
    changed = _python(_run(script, body))
    return _difference(dict(copy.deepcopy(body)), changed)


def _run(script: str, body: Mapping[str, Any]) -> Any:
    lua = lua51.LuaRuntime(register_eval=False, register_builtins=False, unpack_returned_tuples=True)
    lua.execute(LIKE_ARGOCD)
    lua.globals()["obj"] = lua.table_from(json.loads(json.dumps(body)), recursive=True)
    return lua.execute(script)


def _python(value: Any) -> Any:
    if lua51.lua_type(value) != "table":
        return value
    names = list(value)
    if names == list(range(1, len(names) + 1)):
        return [_python(value[name]) for name in names]
    return {name: _python(value[name]) for name in names}


def _difference(before: Body, after: Body) -> Body:
    """The merge patch from `before` to `after`; Lua does not distinguish an empty list from an empty object."""
    changes: Body = {}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            if inner := _difference(old, value):
                changes[name] = inner
        elif old != value and (old or value):
            changes[name] = value
    assert before.keys() <= after.keys(), "an action removes no fields"
    return changes
