"""The operator's settings: what they mean, and one clear line for each that means nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from projectsetup.settings import InvalidSettings, load_settings

DATABASE = "postgresql://user:hunter22@host/database"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", DATABASE)


def test_the_defaults_are_those_that_are_promised() -> None:
    settings = load_settings()
    assert (settings.engine, settings.concurrency, settings.namespaces) == ("local", 4, ())
    assert (settings.recipes_dir, settings.allow_file_repos, settings.http_port) == (None, False, 8080)
    assert (settings.leader_election, settings.operator_namespace) == (True, None)
    assert settings.shutdown_grace == timedelta(seconds=20)
    assert settings.workspace_root.is_dir()
    assert "hunter22" not in repr(settings)


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENGINE", "CONCURRENCY", "NAMESPACES", "OPERATOR_NAMESPACE", "RECIPES_DIR", "SHUTDOWN_GRACE"):
        monkeypatch.setenv(f"PROJECTSETUP_{name}", "")
    assert load_settings().concurrency == 4


def test_namespaces_may_be_separated_as_people_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECTSETUP_NAMESPACES", "team-a, team-b team-c,")
    assert load_settings().namespaces == ("team-a", "team-b", "team-c")


def test_values_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROJECTSETUP_SHUTDOWN_GRACE", "1m30s")
    monkeypatch.setenv("PROJECTSETUP_WORKSPACE_ROOT", str(tmp_path))
    monkeypatch.setenv("PROJECTSETUP_LEADER_ELECTION", "false")
    settings = load_settings()
    assert settings.shutdown_grace == timedelta(seconds=90)
    assert settings.workspace_root == tmp_path
    assert settings.leader_election is False


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("ENGINE", "docker", "Input should be 'local' or 'job'"),
        ("CONCURRENCY", "many", "Input should be a valid integer"),
        ("CONCURRENCY", "0", "Input should be greater than or equal to 1"),
        ("CONCURRENCY", "1001", "Input should be less than or equal to 1000"),
        ("NAMESPACES", "team,No_Name", "'No_Name' is not the name of a namespace"),
        ("NAMESPACES", "team/other", "'team/other' is not the name of a namespace"),
        ("OPERATOR_NAMESPACE", "../x", "'../x' is not the name of a namespace"),
        ("OPERATOR_NAMESPACE", "x" * 64, f"{'x' * 64!r} is not the name of a namespace"),
        ("RECIPES_DIR", "/nowhere", "/nowhere is not a directory"),
        ("WORKSPACE_ROOT", "/dev/null", "/dev/null is not a directory"),
        ("HTTP_PORT", "70000", "Input should be less than or equal to 65535"),
        ("SHUTDOWN_GRACE", "soon", "'soon' is not a duration greater than 0"),
        ("SHUTDOWN_GRACE", "0s", "'0s' is not a duration greater than 0"),
        ("LEADER_ELECTION", "maybe", "Input should be a valid boolean"),
        ("ALLOW_FILE_REPOS", "some", "Input should be a valid boolean"),
        ("LOG_FORMAT", "xml", "Input should be 'console' or 'json'"),
    ],
)
def test_a_bad_value_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str) -> None:
    monkeypatch.setenv(f"PROJECTSETUP_{name}", value)
    with pytest.raises(InvalidSettings) as refusal:
        load_settings()
    text = str(refusal.value)
    assert text.startswith(f"PROJECTSETUP_{name}={value}: {line}")
    assert text.isprintable()
    assert "hunter22" not in text


def test_the_database_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    with pytest.raises(InvalidSettings, match="DATABASE_URL is not set, and it is required"):
        load_settings()
