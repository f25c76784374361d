"""`queue …`, and what a real API server answers to who may not, or before the CRD is there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from projectsetup.cluster.queue_config import CONFIG_MAP
from tests.api_server import ApiServer
from tests.command_line import CommandLine
from tests.setup_bodies import NAME

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
    """A kubeconfig of somebody who may do nothing."""
    api_server.kubectl("create", "serviceaccount", "nobody")
    config = yaml.safe_load(kubeconfig.read_text())
    config["users"][0]["user"] = {"token": api_server.kubectl("create", "token", "nobody").strip()}
    file = tmp_path_factory.mktemp("powerless") / "config"
    file.write_text(yaml.safe_dump(config))
    return file


def data(api_server: ApiServer) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load(api_server.kubectl("get", "configmap", CONFIG_MAP, "-o", "yaml"))["data"]
    return found


def test_a_queue_that_nobody_has_touched(cli: CommandLine, api_server: ApiServer) -> None:
    shown = cli.ok("queue", "show", "-o", "json").json
    assert shown == {"namespace": api_server.namespace, "paused": False, "concurrency": None}
    assert cli.ok("queue", "show").out == (
        f"Namespace    {api_server.namespace}\nPaused       no\nConcurrency  as the operator is set\n"
    )


def test_pausing_resuming_and_scaling_leave_each_other_alone(cli: CommandLine, api_server: ApiServer) -> None:
    assert cli.ok("queue", "pause").out == "the queue is paused: nothing new is started, what runs goes on\n"
    assert data(api_server) == {"paused": "true"}
    assert cli.ok("queue", "scale", 7).out == "at most 7 attempts run at once\n"
    assert data(api_server) == {"paused": "true", "concurrency": "7"}
    assert yaml.safe_load(cli.ok("queue", "show", "-o", "yaml").out)["concurrency"] == 7
    assert cli.ok("queue", "resume").out == "the queue is resumed\n"
    assert data(api_server) == {"paused": "false", "concurrency": "7"}
    assert cli.ok("queue", "scale", 0).out == "at most 0 attempts run at once\n"
    assert cli.ok("queue", "show").out.endswith("Paused       no\nConcurrency  0\n")


def test_what_others_wrote_is_taken_over(cli: CommandLine, api_server: ApiServer) -> None:
    api_server.kubectl(
        "create", "configmap", CONFIG_MAP, "--from-literal=paused=yes", "--from-literal=concurrency=many"
    )
    shown = cli.ok("queue", "show", "-o", "json").json
    assert shown["problem"] == (
        "paused is 'yes': true or false is allowed; concurrency is 'many': a number from 0 to 1000 is allowed"
    )
    assert "Not understood  paused is 'yes'" in cli.ok("queue", "show").out
    cli.ok("queue", "pause")
    cli.ok("queue", "scale", 3)
    assert data(api_server) == {"paused": "true", "concurrency": "3"}


def test_the_operator_s_namespace_may_be_an_option(cli: CommandLine, api_server: ApiServer) -> None:
    cli.ok("queue", "pause")
    assert cli.ok("queue", "show", "--operator-namespace", "kube-public", "-o", "json").json["paused"] is False
    assert cli.ok("queue", "show", "--operator-namespace", api_server.namespace, "-o", "json").json["paused"] is True
    line = cli.refused(2, "queue", "pause", "--operator-namespace", "nix")
    assert line == f'write ConfigMap nix/{CONFIG_MAP}: 404 namespaces "nix" not found'


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_cluster_that_does_not_know_the_resource(
    cli: CommandLine, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projectsetup.cli.cluster.GROUP", "nix.example")
    monkeypatch.setattr("projectsetup.cluster.client.GROUP", "nix.example")
    line = cli.refused(3, *arguments)
    assert line.startswith("the cluster does not know ProjectSetups: install them with kubectl apply -f crds/")


@pytest.mark.parametrize("arguments", [*COMMANDS, ["queue", "show"], ["queue", "pause"]], ids=" ".join)
def test_who_has_no_rights_is_told_so(
    cli: CommandLine, powerless: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(powerless))
    line = cli.refused(3, *arguments)
    assert ": 403 " in line
    assert "cannot" in line
    assert "token" not in line
