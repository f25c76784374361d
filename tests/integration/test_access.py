"""Rights of the operator and of users on a cluster: enough for their work, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from projectsetup.kube.lease import LEASE_NAME
from projectsetup.kube.queue_config import CONFIG_MAP
from tests.support.installation import CREDENTIALS, SETUPS, Installation
from tests.support.manifests import ACCOUNT, MANIFESTS, SYSTEM, build, pick

TEAM, OTHER = "team-a", "elsewhere"

STATUS: Final = f"{SETUPS}/status"
JOBS: Final = "batch:jobs"
LEASES, EVENTS = "coordination.k8s.io:leases", "events.k8s.io:events"

EVERYWHERE: Final = [
    ("get", SETUPS, ""),
    ("list", SETUPS, ""),
    ("watch", SETUPS, ""),
    ("update", STATUS, ""),
    ("create", EVENTS, ""),
    ("get", EVENTS, ""),
    ("patch", EVENTS, ""),
    ("get", JOBS, ""),
    ("list", JOBS, ""),
    ("watch", JOBS, ""),
    ("create", JOBS, ""),
    ("delete", JOBS, ""),
    ("list", "pods", ""),
    ("watch", "pods", ""),
    ("get", "pods/log", ""),
    ("list", "events", ""),
]
IN_ITS_OWN_NAMESPACE: Final = [
    ("create", LEASES, ""),
    ("get", LEASES, LEASE_NAME),
    ("update", LEASES, LEASE_NAME),
    ("get", "configmaps", CONFIG_MAP),
    ("list", "configmaps", CONFIG_MAP),
    ("watch", "configmaps", CONFIG_MAP),
]
NEVER: Final = [
    ("create", SETUPS, ""),
    ("update", SETUPS, ""),
    ("patch", SETUPS, ""),
    ("delete", SETUPS, ""),
    ("deletecollection", SETUPS, ""),
    ("patch", STATUS, ""),
    ("list", "secrets", ""),
    ("watch", "secrets", ""),
    ("get", "secrets", ""),
    ("create", "secrets", ""),
    ("update", "secrets", ""),
    ("delete", "secrets", ""),
    ("get", LEASES, "another"),
    ("update", LEASES, "another"),
    ("patch", LEASES, LEASE_NAME),
    ("delete", LEASES, LEASE_NAME),
    ("list", LEASES, ""),
    ("list", EVENTS, ""),
    ("update", EVENTS, ""),
    ("delete", EVENTS, ""),
    ("create", "events", ""),
    ("get", "configmaps", "another"),
    ("list", "configmaps", ""),
    ("patch", "configmaps", CONFIG_MAP),
    ("create", "configmaps", ""),
    ("create", "pods", ""),
    ("delete", "pods", ""),
    ("patch", "pods", ""),
    ("create", "pods/exec", ""),
    ("patch", JOBS, ""),
    ("update", JOBS, ""),
    ("deletecollection", JOBS, ""),
    ("create", "serviceaccounts/token", ""),
    ("get", "namespaces", ""),
    ("list", "apiextensions.k8s.io:customresourcedefinitions", ""),
    ("bind", "rbac.authorization.k8s.io:clusterroles", ""),
    ("impersonate", "users", ""),
]


@pytest.fixture(scope="module")
def installed(kubeconfig: Path) -> Installation:
    installed = Installation(kubeconfig)
    for name in (TEAM, OTHER):
        installed.kubectl.make_namespace(name)
    return installed


@pytest.fixture
def only_namespaces(installed: Installation) -> Iterator[Installation]:
    with installed.restricted_to_some_namespaces():
        yield installed


@pytest.mark.parametrize(("verb", "resource", "name"), EVERYWHERE)
def test_the_operator_may_do_its_work_everywhere(installed: Installation, verb: str, resource: str, name: str) -> None:
    assert installed.may(verb, resource, name, namespace="")
    assert installed.may(verb, resource, name, namespace=TEAM)


@pytest.mark.parametrize(("verb", "resource", "name"), IN_ITS_OWN_NAMESPACE)
def test_the_operator_may_use_its_lease_and_queue_in_its_namespace(
    installed: Installation, verb: str, resource: str, name: str
) -> None:
    assert installed.may(verb, resource, name, namespace=SYSTEM)
    assert not installed.may(verb, resource, name, namespace=TEAM)


@pytest.mark.parametrize(("verb", "resource", "name"), NEVER)
def test_the_operator_may_do_nothing_else(installed: Installation, verb: str, resource: str, name: str) -> None:
    assert not any(installed.may(verb, resource, name, namespace=namespace) for namespace in ("", SYSTEM, TEAM))


def test_secrets_can_be_read_only_where_bound(installed: Installation) -> None:
    namespace = f"credentials-{uuid4().hex[:8]}"
    installed.kubectl.make_namespace(namespace)
    installed.bind(CREDENTIALS, CREDENTIALS, f"--serviceaccount={SYSTEM}:{ACCOUNT}", namespace)
    installed.await_right("get", "secrets", "any", namespace=namespace)
    assert not any(installed.may(verb, "secrets", "", namespace=namespace) for verb in ("list", "watch", "update"))
    assert not installed.may("get", "secrets", "any", namespace=OTHER)


def test_all_secrets_can_be_made_readable(installed: Installation) -> None:
    binding = pick(build(MANIFESTS / "overlays" / "development"), "ClusterRoleBinding", CREDENTIALS)
    installed.kubectl("apply", "--filename=-", given=binding)
    try:
        installed.await_right("get", "secrets", "any", namespace=OTHER)
        assert not installed.may("list", "secrets", "", namespace=OTHER)
    finally:
        installed.kubectl("delete", "clusterrolebinding", CREDENTIALS)
        installed.await_right("get", "secrets", "any", namespace=OTHER, given=False)


def test_a_namespaced_operator_may_do_nothing_in_other_namespaces(only_namespaces: Installation) -> None:
    for verb, resource, name in (*EVERYWHERE, ("get", "secrets", "any")):
        assert only_namespaces.may(verb, resource, name, namespace=TEAM)
        assert not only_namespaces.may(verb, resource, name, namespace=OTHER)
        assert not only_namespaces.may(verb, resource, name, namespace="")


@pytest.mark.parametrize(
    ("role", "allowed", "denied"),
    [
        ("projectsetup-view", {"get", "list", "watch"}, {"create", "update", "patch", "delete", "deletecollection"}),
        ("projectsetup-edit", {"create", "update", "patch", "delete", "deletecollection"}, set()),
    ],
)
def test_users_may_view_or_edit(installed: Installation, role: str, allowed: set[str], denied: set[str]) -> None:
    user = f"user-of-{role}"
    namespace = f"people-{uuid4().hex[:8]}"
    installed.kubectl.make_namespace(namespace)
    installed.bind(role, role, f"--user={user}", namespace)
    for verb in allowed:
        installed.await_right(verb, SETUPS, namespace=namespace, user=user)
    assert not any(installed.may(verb, SETUPS, "", namespace=namespace, user=user) for verb in denied)
    assert not any(installed.may(verb, STATUS, "", namespace=namespace, user=user) for verb in ("update", "patch"))
    assert not any(installed.may(verb, SETUPS, "", namespace=OTHER, user=user) for verb in allowed)


@pytest.mark.parametrize(
    ("role", "joins"),
    [("projectsetup-view", {"view", "edit", "admin"}), ("projectsetup-edit", {"edit", "admin"})],
)
def test_roles_for_users_aggregate_to_those_of_the_cluster(installed: Installation, role: str, joins: set[str]) -> None:
    labels = installed.kubectl.get("clusterrole", role)["metadata"]["labels"]
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {name.removeprefix(prefix) for name in labels if name.startswith(prefix)} == joins
    for name in joins:
        selectors = installed.kubectl.get("clusterrole", name)["aggregationRule"]["clusterRoleSelectors"]
        assert any(selector["matchLabels"].items() <= labels.items() for selector in selectors)
