"""The environment and the workspace of a step, as a step that the operator runs sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api_server import ROOT
from tests.support.operator_sandbox import NewSandbox, Sandbox
from tests.support.setup_handle import Setup

NAME = """Orders "desk" {{ 7*7 }} $(touch pwned) `touch pwned`; touch pwned & it's \\ ünïcode *"""

NOT_FOR_STEPS = {
    "AWS_SECRET_ACCESS_KEY": "hidden-1",
    "PGPASSWORD": "hidden-2",
    "KUBERNETES_SERVICE_PORT": "hidden-3",
    "GIT_CONFIG_PARAMETERS": "'user.name=hidden-4'",
    "SSH_AUTH_SOCK": "/hidden-5",
    "LD_LIBRARY_PATH": "/hidden-6",
    "PYTHONPATH": "/hidden-7",
    "VIRTUAL_ENV": "/hidden-8",
    "UV_PUBLISH_TOKEN": "hidden-9",
    "ENV": "/hidden-10",
}
FOR_STEPS = {
    "LANG": "C.UTF-8",
    "LC_TIME": "C",
    "no_proxy": "git.example.test",
    "SSL_CERT_DIR": "/etc/ssl/certs",
    "PIP_DEFAULT_TIMEOUT": "77",
}
PROMISED = {
    *("PROJECT_ID", "PROJECT_NAME", "PROJECT_SLUG", "PROJECT_DESCRIPTION", "CODE_REPO", "DOCS_REPO", "ATTEMPT"),
    *("WORKSPACE", "HOME", "TMPDIR", "STEP_OUTPUTS"),
    *("PARAM_FIRST", "PARAM_SECOND", "PARAM_THIRD", "PARAM_PLACE"),
}
GIT = {"GIT_ALLOW_PROTOCOL", "GIT_CONFIG_NOSYSTEM", "GIT_SSH_COMMAND", "GIT_TERMINAL_PROMPT"}
GIT_WITH_CREDENTIALS = {"GIT_CONFIG_GLOBAL"}
"""Variables that the step `second` gets as well, since it declares `credentials: true`."""
SETTINGS = re.compile(
    "PATH|LANG|LANGUAGE|LC_.+"
    "|(?i:(https?|ftp|all|no)_proxy)"
    "|.+_(CERT|CERT_FILE|CERT_DIR|CA_CERTS|CA_BUNDLE|CAINFO|CAPATH)|npm_config_cafile|UV_(NATIVE_TLS|SYSTEM_CERTS)"
    "|(PIP|UV|CARGO|GO|npm_config)_?.+"
)
"""Names of settings that steps share with the operator: PATH, locale, proxies, certificates, package caches."""
SHELL = {"PWD", "OLDPWD", "_", "OWN"}
"""Variables that sh sets, and the one that the recipe sets."""


@pytest.fixture(scope="module")
def sandbox(new_sandbox: NewSandbox) -> Iterator[Sandbox]:
    with new_sandbox(environment=NOT_FOR_STEPS | FOR_STEPS) as sandbox:
        sandbox.operator.start()
        yield sandbox


@pytest.fixture(scope="module")
def place(sandbox: Sandbox) -> Path:
    """Where the three steps of one project have written their environments."""
    place = sandbox.folder / "environments"
    place.mkdir()
    project = sandbox.project(name=NAME, code_repo="/repositories/code of it.git", docs_repo="/repositories/docs.git")
    scripts = {step: f'env -0 > "$PARAM_PLACE/{step}"' for step in ("first", "second", "third")}
    setup = Setup.make(sandbox, "scripts", project=project, place=str(place), parameters=scripts)
    assert setup.ended()[0] == "SetupSucceeded"
    return place


def environment(place: Path, step: str) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in (place / step).read_text().split("\0") if entry)


@pytest.mark.parametrize("step", ["first", "second", "third"])
def test_a_step_sees_the_promised_variables_and_none_of_the_operator(place: Path, step: str) -> None:
    seen = environment(place, step)
    git = GIT | GIT_WITH_CREDENTIALS if step == "second" else GIT
    assert seen.keys() >= PROMISED | git
    assert not [name for name in seen.keys() - PROMISED - git - SHELL if not SETTINGS.fullmatch(name)]
    assert not seen.keys() & NOT_FOR_STEPS.keys()
    assert "hidden" not in (place / step).read_text()
    assert seen.items() >= FOR_STEPS.items()
    assert seen["GIT_ALLOW_PROTOCOL"] == "https:ssh:file"


def test_a_step_gets_the_fields_of_the_project_unchanged_and_a_workspace(sandbox: Sandbox, place: Path) -> None:
    seen = environment(place, "first")
    row = sandbox.record(seen["PROJECT_ID"])
    assert seen["PROJECT_NAME"] == row["name"] == NAME
    assert seen["PROJECT_DESCRIPTION"] == row["description"] == "two\nlines"
    assert (seen["CODE_REPO"], seen["DOCS_REPO"]) == ("/repositories/code of it.git", "/repositories/docs.git")
    assert re.fullmatch("[a-z][a-z0-9-]*", seen["PROJECT_SLUG"])
    assert seen["ATTEMPT"] == "1"
    assert not [*sandbox.folder.rglob("pwned*"), *ROOT.glob("pwned*")]
    workspace = Path(seen["WORKSPACE"])
    assert workspace.is_relative_to(sandbox.operator.workspaces)
    assert seen["PWD"] == str(workspace)
    assert all(Path(seen[name]).is_relative_to(workspace) for name in ("HOME", "TMPDIR"))
    assert not Path(seen["STEP_OUTPUTS"]).is_relative_to(workspace)
