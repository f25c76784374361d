"""The component `intake`: its rights are enough for the requests of applications, and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from tests.support.installation import SETUPS, Installation
from tests.support.manifests import (
    ACCOUNT,
    BASE,
    MANIFESTS,
    SYSTEM,
    Body,
    build,
    operator_container,
    pick,
    read,
)
from tests.support.operator_process import OperatorProcess, wait_for
from tests.support.operator_sandbox import ENDED, PREFIX, RECIPES

COMPONENT: Final = MANIFESTS / "components" / "intake"
OVERLAYS: Final = [BASE, *sorted((MANIFESTS / "overlays").iterdir())]
TEAM, OTHER = "team-a", "team-b"


def with_component(folder: Path, target: Path) -> list[Body]:
    """What kustomize builds from `folder` and the component."""
    (target / "manifests").symlink_to(MANIFESTS)
    overlay = target / "overlays" / "mine"
    overlay.mkdir(parents=True)
    (overlay / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\n"
        "kind: Kustomization\n"
        f"resources: [../../manifests/{folder.relative_to(MANIFESTS)}]\n"
        "components: [../../manifests/components/intake]\n"
    )
    return build(overlay)


def identity(body: Body) -> tuple[str, str | None, str]:
    return body["kind"], body["metadata"].get("namespace"), body["metadata"]["name"]


@pytest.mark.parametrize("folder", OVERLAYS, ids=lambda folder: str(folder.name))
def test_adds_one_role_in_one_namespace_and_one_setting(folder: Path, tmp_path: Path) -> None:
    before, after = build(folder), with_component(folder, tmp_path)
    known = {identity(body): body for body in before}
    assert {identity(body) for body in after} - known.keys() == {
        ("Role", TEAM, "projectsetup-intake"),
        ("RoleBinding", TEAM, "projectsetup-intake"),
    }
    changed = [identity(body) for body in after if identity(body) in known and body != known[identity(body)]]
    assert changed == [("Deployment", SYSTEM, ACCOUNT)]

    assert pick(after, "Role", "projectsetup-intake")["rules"] == [
        {"apiGroups": ["codemyspec.com"], "resources": ["projectsetups"], "verbs": ["create", "patch"]}
    ]
    binding = pick(after, "RoleBinding", "projectsetup-intake")
    assert binding["roleRef"]["name"] == "projectsetup-intake"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}]

    container = operator_container(after)
    added = [variable for variable in container["env"] if variable not in operator_container(before)["env"]]
    assert added == [{"name": "PROJECTSETUP_INTAKE_NAMESPACE", "value": TEAM}]
    served = next((one["value"] for one in container["env"] if one["name"] == "PROJECTSETUP_NAMESPACES"), TEAM)
    assert TEAM in served.split(",")


@pytest.fixture(scope="module")
def installed(kubeconfig: Path) -> Iterator[Installation]:
    """The overlay `namespaced` with the rights of the component."""
    installed = Installation(kubeconfig)
    with installed.restricted_to_some_namespaces():
        for body in read(COMPONENT / "access.yaml"):
            installed.kubectl("apply", "--filename=-", given=body)
        for verb in ("create", "patch"):
            installed.await_right(verb, SETUPS, namespace=TEAM)
        yield installed
        installed.kubectl("delete", f"--filename={COMPONENT / 'access.yaml'}")


def test_gives_the_rights_in_its_namespace_alone(installed: Installation) -> None:
    for verb in ("create", "patch"):
        assert not any(installed.may(verb, SETUPS, "", namespace=namespace) for namespace in ("", OTHER, SYSTEM))
    for verb in ("update", "delete", "deletecollection"):
        assert not installed.may(verb, SETUPS, "", namespace=TEAM)
    assert not installed.may("patch", f"{SETUPS}/status", "", namespace=TEAM)


@pytest.fixture
def operator(installed: Installation, database_url: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    """The operator with the token of its service account."""
    operator = OperatorProcess(
        tmp_path / "operator",
        kubeconfig=installed.operator_kubeconfig(tmp_path),
        database_url=database_url,
        operator_namespace=SYSTEM,
        namespaces=f"{TEAM},{OTHER}",
        intake_namespace=TEAM,
        require_namespace="true",
        recipes_dir=str(RECIPES),
    )
    yield operator.start()
    operator.close()


def test_the_rights_are_enough(
    operator: OperatorProcess, installed: Installation, database_url: str, tmp_path: Path
) -> None:
    with psycopg.connect(database_url, autocommit=True) as sql:

        def one(query: str, *values: object) -> Any:
            (value,) = sql.execute(query.encode(), values).fetchone() or (None,)
            return value

        def setup() -> Body:
            found: Body = installed.kubectl.get("projectsetup", str(project), f"--namespace={TEAM}")
            return found

        def has_ended(retry: str) -> bool:
            status = setup().get("status", {})
            return status.get("lastHandledRetry", "") == retry and status.get("phase") in ENDED

        def handled() -> bool:
            return bool(one("SELECT count(*) = 0 FROM setup_requests WHERE handled_at IS NULL"))

        project = one("INSERT INTO projects (name, code_repo) VALUES ('App', 'https://git.example/app') RETURNING id")
        ask = "SELECT setup_project(%s, recipe => 'scripts', parameters => jsonb_build_object('first', %s::text))"
        one(ask, project, f"[ -e {tmp_path} ] && exit 1")
        wait_for(handled, "the request to be handled")
        wait_for(lambda: has_ended(""), "the setup to fail")

        retry = one("SELECT setup_project(%s, priority => 0)", project)
        wait_for(lambda: has_ended(str(retry)), "the retry to fail")
        assert setup()["metadata"]["annotations"][PREFIX + "priority"] == "0"

        waiting = "SELECT setup_project(%s, recipe => 'scripts', parameters => '{\"first\": \"sleep 60\"}')"
        project = one("INSERT INTO projects (name, code_repo) VALUES ('B', 'https://git.example/b') RETURNING id")
        one(waiting, project)
        wait_for(lambda: one("SELECT status FROM projects WHERE id = %s", project) != "setup_queued", "it to run")
        assert one("SELECT cancel_setup(%s)", project) == "ok"
        wait_for(lambda: has_ended(""), "the setup to be cancelled")
        assert setup()["status"]["phase"] == "Cancelled"

        wait_for(handled, "all requests to be handled")
        assert one("SELECT count(error) FROM setup_requests") == 0
    assert not re.search(r"\b403\b|forbidden", operator.log.read_text())
