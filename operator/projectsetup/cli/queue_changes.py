"""What `queue pause`, `resume` and `scale` do: change the ConfigMap that controls the queue."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

from projectsetup.api.limits import Limits
from projectsetup.cli.errors import CommandError
from projectsetup.cli.output import say
from projectsetup.cli.queue import visible_setups
from projectsetup.kube.client import APPLY_PATCH, Body, RestClient
from projectsetup.kube.connection import Kubeconfig, connect
from projectsetup.kube.errors import ApiConflict, ApiNotFound, ClusterError
from projectsetup.kube.queue_config import (
    CONFIG_MAP,
    PAUSED_RECIPES,
    PER_RECIPE,
    config_map_data,
    config_maps_path,
    parse_queue_control,
    paused_recipes_text,
    queue_config_path,
    recipe_limits_text,
)
from projectsetup.recipes.loader import RecipeBook

MAX_CHANGES: Final = 5
"""How often a change of the ConfigMap is tried while others change it as well."""


async def change_queue(kubeconfig: Kubeconfig, given: str | None, key: str, value: str) -> None:
    """Set one key of the ConfigMap and leave the other; create it if it does not exist.

    Each key has its own field manager: with a shared one, applying one key would remove the other.
    """
    _, problem = parse_queue_control({key: value})
    if problem:
        raise CommandError(problem)
    namespace = kubeconfig.operator_namespace(given)
    async with await connect(kubeconfig) as api:
        await _apply(RestClient(api), namespace, key, value, {"name": CONFIG_MAP})


async def _apply(client: RestClient, namespace: str, key: str, value: str, metadata: Body) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {key: value}}
    await client.call(
        f"write ConfigMap {namespace}/{CONFIG_MAP}",
        "PATCH",
        queue_config_path(namespace),
        query={"fieldManager": f"projectsetup-cli-{key}", "force": "true"},
        body=body,
        content_type=APPLY_PATCH,
    )


async def pause_recipe(kubeconfig: Kubeconfig, given: str | None, recipe: str) -> None:
    """Start no attempts of this recipe."""
    await _change_limits(
        kubeconfig, given, PAUSED_RECIPES, lambda limits: paused_recipes_text(limits.paused_recipes | {recipe})
    )
    await _warn_if_unused(kubeconfig, recipe)


async def resume_recipe(kubeconfig: Kubeconfig, given: str | None, recipe: str) -> bool:
    """Start attempts of this recipe again; False if it was not paused."""
    before = await _change_limits(
        kubeconfig, given, PAUSED_RECIPES, lambda limits: paused_recipes_text(limits.paused_recipes - {recipe})
    )
    return recipe in before.paused_recipes


async def limit_recipe(kubeconfig: Kubeconfig, given: str | None, recipe: str, number: str) -> None:
    """Let so many attempts of this recipe run at once; "" for any number."""
    _, problem = parse_queue_control({PER_RECIPE: f"{recipe}: {number}"} if number else {})
    if problem:
        raise CommandError(problem)

    def changed(limits: Limits) -> str:
        others = {name: most for name, most in limits.per_recipe.items() if name != recipe}
        return recipe_limits_text(others | ({recipe: int(number)} if number else {}))

    await _change_limits(kubeconfig, given, PER_RECIPE, changed)
    if number:
        await _warn_if_unused(kubeconfig, recipe)


async def _change_limits(
    kubeconfig: Kubeconfig, given: str | None, key: str, changed: Callable[[Limits], str]
) -> Limits:
    """Change a key that holds several values, and return the limits before.

    Nothing is lost if somebody else changes or creates the ConfigMap at the same time.
    """
    namespace = kubeconfig.operator_namespace(given)
    async with await connect(kubeconfig) as api:
        client = RestClient(api)
        for remaining in reversed(range(MAX_CHANGES)):
            try:
                found = await _read_or_create(client, namespace)
                control, problem = parse_queue_control({key: (config_map_data(found) or {}).get(key, "")})
                if problem:
                    raise CommandError(f"ConfigMap {namespace}/{CONFIG_MAP}: {problem}; correct it first")
                metadata = {"name": CONFIG_MAP, "resourceVersion": found["metadata"]["resourceVersion"]}
                await _apply(client, namespace, key, changed(control.limits), metadata)
            except ApiConflict:
                if remaining == 0:
                    raise
            else:
                return control.limits
    raise AssertionError("the last conflict was not raised")


async def _read_or_create(client: RestClient, namespace: str) -> Body:
    """The ConfigMap; raises ApiConflict if somebody else creates it first."""
    what = f"ConfigMap {namespace}/{CONFIG_MAP}"
    try:
        return await client.call(f"read {what}", "GET", queue_config_path(namespace))
    except ApiNotFound:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}}
        return await client.call(f"create {what}", "POST", config_maps_path(namespace), body=body)


async def _warn_if_unused(kubeconfig: Kubeconfig, recipe: str) -> None:
    """Warn of what looks like a typo. The operator may have recipes that this machine does not know."""
    if recipe in RecipeBook().names():
        return
    with contextlib.suppress(ClusterError):
        async with await connect(kubeconfig) as api:
            resources, _ = await visible_setups(api, kubeconfig)
        if all(resource.recipe != recipe for resource in resources):
            say(f"warning: recipe {recipe} is not built in, and no ProjectSetup uses it; check the name")
