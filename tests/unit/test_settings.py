"""The operator's settings: what they mean, and one clear line for each that means nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from projectsetup.bootstrap import pod_settings
from projectsetup.git_hosts import GitHosts
from projectsetup.settings import InvalidSettings, Toleration, load_settings

DATABASE = "postgresql://user:hunter22@host/database"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", DATABASE)


def test_the_documented_defaults() -> None:
    settings = load_settings()
    assert (settings.engine, settings.concurrency, settings.namespaces) == ("local", 4, ())
    assert (settings.recipes_dir, settings.allow_file_repos, settings.http_port) == (None, False, 8080)
    assert (settings.leader_election, settings.operator_namespace) == (True, None)
    assert (settings.shutdown_grace, settings.git_hosts) == (timedelta(seconds=20), GitHosts())
    assert (settings.job_ttl, settings.job_start_limit) == (timedelta(hours=1), timedelta(minutes=5))
    assert settings.workspace_root.is_dir()
    assert "hunter22" not in repr(settings)


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENGINE", "CONCURRENCY", "NAMESPACES", "OPERATOR_NAMESPACE", "RECIPES_DIR", "SHUTDOWN_GRACE"):
        monkeypatch.setenv(f"PROJECTSETUP_{name}", "")
    assert load_settings().concurrency == 4


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("NAMESPACES", "team-a, team-b team-c,", ("team-a", "team-b", "team-c")),
        ("GIT_HOSTS", "git.example.com, 10.0.0.7:8443", GitHosts.parse("git.example.com 10.0.0.7:8443")),
        ("SHUTDOWN_GRACE", "1m30s", timedelta(seconds=90)),
        ("WORKSPACE_ROOT", "/", Path("/")),
        ("LEADER_ELECTION", "false", False),
        ("ENGINE", "job", "job"),
        ("JOB_TTL", "90s", timedelta(seconds=90)),
        ("JOB_NODE_SELECTOR", "disk=ssd,example.com/pool=setups", {"disk": "ssd", "example.com/pool": "setups"}),
        ("JOB_IMAGE_PULL_SECRETS", "registry,mirror", ("registry", "mirror")),
        (
            "JOB_TOLERATIONS",
            '[{"key": "setups", "operator": "Exists", "tolerationSeconds": 5}]',
            (Toleration(key="setups", operator="Exists", tolerationSeconds=5),),
        ),
    ],
)
def test_values_are_read(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object) -> None:
    monkeypatch.setenv(f"PROJECTSETUP_{name}", text)
    assert getattr(load_settings(), name.lower()) == value


def test_requests_are_served_in_a_namespace_that_the_operator_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECTSETUP_NAMESPACES", "team-a,team-b")
    monkeypatch.setenv("PROJECTSETUP_INTAKE_NAMESPACE", "team-b")
    assert load_settings().intake_namespace == "team-b"
    monkeypatch.setenv("PROJECTSETUP_INTAKE_NAMESPACE", "team-c")
    with pytest.raises(InvalidSettings) as refusal:
        load_settings()
    assert str(refusal.value) == "PROJECTSETUP_INTAKE_NAMESPACE=team-c: is not one of PROJECTSETUP_NAMESPACES"


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("ENGINE", "docker", "Input should be 'local' or 'job'"),
        ("CONCURRENCY", "many", "Input should be a valid integer"),
        ("CONCURRENCY", "0", "Input should be greater than or equal to 1"),
        ("CONCURRENCY", "1001", "Input should be less than or equal to 1000"),
        ("GIT_HOSTS", "git.example.com https://x", "'https://x' is not a host (expected git.example.com or"),
        ("NAMESPACES", "team,No_Name", "'No_Name' is not a valid namespace name"),
        ("NAMESPACES", "team/other", "'team/other' is not a valid namespace name"),
        ("OPERATOR_NAMESPACE", "../x", "'../x' is not a valid namespace name"),
        ("OPERATOR_NAMESPACE", "x" * 64, f"{'x' * 64!r} is not a valid namespace name"),
        ("RECIPES_DIR", "/nowhere", "/nowhere is not a directory"),
        ("WORKSPACE_ROOT", "/dev/null", "/dev/null is not a directory"),
        ("HTTP_PORT", "70000", "Input should be less than or equal to 65535"),
        ("SHUTDOWN_GRACE", "soon", "'soon' is not a duration greater than 0"),
        ("SHUTDOWN_GRACE", "0s", "'0s' is not a duration greater than 0"),
        ("LEADER_ELECTION", "maybe", "Input should be a valid boolean"),
        ("ALLOW_FILE_REPOS", "some", "Input should be a valid boolean"),
        ("JOB_TTL", "long", "'long' is not a duration greater than 0"),
        ("JOB_START_LIMIT", "0s", "'0s' is not a duration greater than 0"),
        ("JOB_PRIORITY_CLASS", "Very High", "String should match pattern"),
        ("JOB_QUEUE", "-", "String should match pattern"),
        ("JOB_INDEX_SECRET", "No Name", "String should match pattern"),
        ("JOB_IMAGE_PULL_SECRETS", "ok,No", "String should match pattern"),
        ("JOB_NODE_SELECTOR", "disk:ssd", "must be KEY=VALUE pairs separated by commas"),
        ("JOB_TOLERATIONS", "[", "must be YAML or JSON"),
        ("JOB_LABELS", "app.kubernetes.io/name=x", "app.kubernetes.io/name is reserved for the operator"),
        ("JOB_ANNOTATIONS", "setup.codemyspec.com/plan=x", "setup.codemyspec.com/plan is reserved for the operator"),
        ("JOB_LABELS", "a b", "must be KEY=VALUE"),
        ("JOB_TOLERATIONS", "some", "Input should be a valid tuple"),
        ("JOB_TOLERATIONS", '[{"kee": "a"}]', "Extra inputs are not permitted"),
        ("LOG_FORMAT", "xml", "Input should be 'console' or 'json'"),
    ],
)
def test_an_invalid_value_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str) -> None:
    monkeypatch.setenv(f"PROJECTSETUP_{name}", value)
    with pytest.raises(InvalidSettings) as refusal:
        load_settings()
    text = str(refusal.value)
    assert text.startswith(f"PROJECTSETUP_{name}={value}: {line}")
    assert text.isprintable()
    assert "hunter22" not in text


def test_pod_settings_reach_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECTSETUP_JOB_TTL", "1500ms")
    monkeypatch.setenv("PROJECTSETUP_JOB_START_LIMIT", "90s")
    monkeypatch.setenv("PROJECTSETUP_JOB_QUEUE", "setups")
    monkeypatch.setenv("PROJECTSETUP_JOB_TOLERATIONS", "[{key: setups, tolerationSeconds: 5}]")
    pods = pod_settings(load_settings(), {"LANG": "C.UTF-8", "HOME": "/root"})
    assert (pods.ttl, pods.start_limit, pods.queue) == (2, 90.0, "setups")
    assert pods.tolerations == ({"key": "setups", "operator": "Equal", "tolerationSeconds": 5},)
    assert pods.environment == {"LANG": "C.UTF-8"}


def test_the_database_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    with pytest.raises(InvalidSettings, match="DATABASE_URL is required and not set"):
        load_settings()
