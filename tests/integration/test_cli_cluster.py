"""`queue …` on a real API server, and its answers without rights or without the CRD."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from projectsetup.api.constants import PRIORITY
from projectsetup.cli.queue_changes import pause_recipe
from projectsetup.kube.connection import Kubeconfig
from projectsetup.kube.queue_config import CONFIG_MAP
from projectsetup.recipes.loader import RecipeBook
from tests.support.api_server import ApiServer
from tests.support.command_line import CommandLine
from tests.support.operator_process import wait_for
from tests.support.setup_bodies import NAME

COMMANDS = [["status"], ["status", NAME], ["status", "-A"], ["setup", NAME], ["retry", NAME], ["cancel", NAME]]


@pytest.fixture(scope="module")
def api_server(kubeconfig: Path) -> ApiServer:
    return ApiServer.prepared(kubeconfig, "cli-cluster")


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kubeconfig: Path, api_server: ApiServer
) -> CommandLine:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@127.0.0.1:1/d")
    monkeypatch.setenv("PROJECTSETUP_OPERATOR_NAMESPACE", api_server.namespace)
    api_server.kubectl("delete", "configmap", CONFIG_MAP, "--ignore-not-found")
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def powerless(api_server: ApiServer, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of a user without rights."""
    api_server.kubectl("create", "serviceaccount", "nobody")
    config = yaml.safe_load(kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = api_server.namespace
    config["users"][0]["user"] = {"token": api_server.kubectl("create", "token", "nobody").strip()}
    file = tmp_path_factory.mktemp("powerless") / "config"
    file.write_text(yaml.safe_dump(config))
    return file


def data(api_server: ApiServer) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load(api_server.kubectl("get", "configmap", CONFIG_MAP, "-o", "yaml"))["data"]
    return found


def test_the_default_queue(cli: CommandLine, api_server: ApiServer) -> None:
    shown = cli.ok("queue", "show", "-o", "json").json
    shown_fields = {name: shown[name] for name in ("namespace", "operator", "paused", "concurrency")}
    assert shown_fields == {"namespace": api_server.namespace, "operator": None, "paused": False, "concurrency": None}
    out = cli.ok("queue", "show").out
    assert out.startswith(f"Namespace    {api_server.namespace}\nOperator     none is running\nPaused       no\n")
    assert "Concurrency  default of the operator\n" in out


def test_the_queue_shows_what_starts_next(cli: CommandLine, api_server: ApiServer) -> None:
    later = api_server.create()["metadata"]["name"]
    first = api_server.create(annotations={PRIORITY: "0"})["metadata"]["name"]
    names = cli.ok("queue", "show", "-o", "name").out.splitlines()
    assert names.index(f"projectsetup.codemyspec.com/{first}") < names.index(f"projectsetup.codemyspec.com/{later}")
    waiting = cli.ok("queue", "show", "-o", "json").json["waiting"]
    assert [entry["name"] for entry in waiting if entry["namespace"] == api_server.namespace] == [first, later]
    for name in (later, first):
        api_server.delete(name)


def test_a_user_who_may_list_one_namespace_sees_its_queue(
    cli: CommandLine, api_server: ApiServer, powerless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = api_server.create()["metadata"]["name"]
    rule = ("--verb=get,list", "--resource=configmaps,projectsetups.codemyspec.com")
    api_server.kubectl("create", "role", "reader", *rule)
    user = f"{api_server.namespace}:nobody"
    api_server.kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={user}")
    monkeypatch.setenv("KUBECONFIG", str(powerless))
    wait_for(lambda: cli("queue", "show").code == 0, "the rights to be in force")
    shown = cli.ok("queue", "show", "-o", "json").json
    api_server.kubectl("delete", "role,rolebinding", "reader")
    api_server.delete(own)
    assert "operator" not in shown  # the Lease may not be read
    assert (shown["within"], [entry["name"] for entry in shown["waiting"]]) == (api_server.namespace, [own])


def test_pausing_resuming_and_scaling_leave_each_other_alone(cli: CommandLine, api_server: ApiServer) -> None:
    assert cli.ok("queue", "pause").out == "queue paused: no new attempts start, running attempts continue\n"
    assert data(api_server) == {"paused": "true"}
    assert cli.ok("queue", "scale", 7).out == "at most 7 attempts run at once\n"
    assert data(api_server) == {"paused": "true", "concurrency": "7"}
    assert yaml.safe_load(cli.ok("queue", "show", "-o", "yaml").out)["concurrency"] == 7
    assert cli.ok("queue", "resume").out == "queue resumed\n"
    assert data(api_server) == {"paused": "false", "concurrency": "7"}
    assert cli.ok("queue", "scale", 0).out == "at most 0 attempts run at once\n"
    assert cli.ok("queue", "show").out.splitlines()[2:4] == ["Paused       no", "Concurrency  0"]


def test_limits_of_several_recipes_are_set_and_removed_one_by_one(cli: CommandLine, api_server: ApiServer) -> None:
    used = [api_server.create(spec={"recipe": recipe})["metadata"]["name"] for recipe in "abc"]
    paused = "recipe b paused: none of its attempts start, running attempts continue\n"
    assert cli.ok("queue", "pause", "--recipe", "b").out == paused
    cli.ok("queue", "pause", "--recipe", "a")
    assert cli.ok("queue", "scale", 2, "--recipe", "c").out == "at most 2 attempts with recipe c run at once\n"
    assert cli.ok("queue", "scale", 1, "--recipe", "a").out == "at most 1 attempt with recipe a runs at once\n"
    for name in used:
        api_server.delete(name)
    assert cli.ok("queue", "scale", 3, "--per-namespace").out == "at most 3 attempts of each namespace run at once\n"
    assert data(api_server) == {
        "pausedRecipes": "a\nb\n", "concurrencyPerRecipe": "a: 1\nc: 2\n", "concurrencyPerNamespace": "3"
    }  # fmt: skip
    assert cli.ok("queue", "resume", "--recipe", "b").out == "recipe b resumed\n"
    removed = "attempts with recipe c have no limit of their own\n"
    assert cli.ok("queue", "scale", "none", "--recipe", "c").out == removed
    shown = cli.ok("queue", "show", "-o", "json").json
    assert (shown["pausedRecipes"], shown["concurrencyPerRecipe"]) == (["a"], {"a": 1})
    assert "a number from 0 to 1000" in cli.refused(2, "queue", "scale", "many", "--recipe", "a")
    assert "exclude each other" in cli.refused(2, "queue", "scale", "1", "--recipe", "a", "--per-namespace")


def test_the_first_limits_may_be_set_at_the_same_time(
    cli: CommandLine, api_server: ApiServer, kubeconfig: Path
) -> None:
    recipes = RecipeBook().names()

    async def pause_all() -> None:
        source = Kubeconfig(str(kubeconfig), None)
        await asyncio.gather(*(pause_recipe(source, api_server.namespace, recipe) for recipe in recipes))

    asyncio.run(pause_all())
    assert cli.ok("queue", "show", "-o", "json").json["pausedRecipes"] == list(recipes)


def test_a_recipe_that_nobody_has_is_likely_a_typo(cli: CommandLine, api_server: ApiServer) -> None:
    done = cli("queue", "pause", "--recipe", "node-servise")
    assert done.err == "warning: recipe node-servise is not built in, and no ProjectSetup uses it; check the name\n"
    assert (done.code, data(api_server)) == (0, {"pausedRecipes": "node-servise\n"})
    assert cli.ok("queue", "resume", "--recipe", "node-service").out == "recipe node-service was not paused\n"


def test_invalid_values_of_others_are_shown_and_replaced(cli: CommandLine, api_server: ApiServer) -> None:
    api_server.kubectl(
        "create", "configmap", CONFIG_MAP, "--from-literal=paused=yes", "--from-literal=concurrency=many"
    )
    shown = cli.ok("queue", "show", "-o", "json").json
    assert shown["problem"] == (
        "paused is 'yes': true or false is allowed; concurrency is 'many': a number from 0 to 1000 is allowed"
    )
    assert "Invalid      paused is 'yes'" in cli.ok("queue", "show").out
    cli.ok("queue", "pause")
    cli.ok("queue", "scale", 3)
    assert data(api_server) == {"paused": "true", "concurrency": "3"}


def test_the_operator_s_namespace_may_be_an_option(cli: CommandLine, api_server: ApiServer) -> None:
    cli.ok("queue", "pause")
    assert cli.ok("queue", "show", "--operator-namespace", "kube-public", "-o", "json").json["paused"] is False
    assert cli.ok("queue", "show", "-n", api_server.namespace, "-o", "json").json["paused"] is True
    line = cli.refused(2, "queue", "pause", "--operator-namespace", "nix")
    assert line == f'write ConfigMap nix/{CONFIG_MAP}: 404 namespaces "nix" not found'


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_cluster_without_the_crd(cli: CommandLine, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projectsetup.kube.setups.GROUP", "nix.example")
    line = cli.refused(3, *arguments)
    assert line.startswith("the ProjectSetup CRD is not installed; run `projectsetup crd | kubectl apply -f -`")


@pytest.mark.parametrize("arguments", [*COMMANDS, ["queue", "show"], ["queue", "pause"]], ids=" ".join)
def test_missing_rights_are_reported(
    cli: CommandLine, powerless: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(powerless))
    line = cli.refused(3, *arguments)
    assert ": 403 " in line
    assert "cannot" in line
    assert "token" not in line
