"""The admission policy on a real API server: the same rules and messages as in the operator."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from projectsetup.api.models import parse_resource
from tests.support.annotation_cases import ACCEPTED, PREFIX, REFUSED
from tests.support.api_server import ApiServer, Refused
from tests.support.operator_process import wait_for

LONG = 5000
"""Characters beyond which Kubernetes leaves the value out of a message."""


BINDING = "validatingadmissionpolicybinding/projectsetup-annotations"
BAD = {PREFIX + "priority": "high", PREFIX + "max-attempts": "0"}


@pytest.fixture(scope="module")
def policed(kubeconfig: Path) -> ApiServer:
    """A namespace of a cluster in which the policy is enforced."""
    api_server = ApiServer.prepared(kubeconfig, "admission")
    api_server.enforce_policy()
    return api_server


@pytest.fixture
def unpoliced_name(policed: ApiServer) -> str:
    """Name of a ProjectSetup with bad annotations, created while the policy was not bound."""
    policed.kubectl("delete", BINDING)
    wait_for(lambda: not policed.enforces_policy, "the policy to be lifted")
    name: str = policed.create(annotations=BAD)["metadata"]["name"]
    policed.enforce_policy()
    return name


@pytest.mark.parametrize(("name", "value"), ACCEPTED)
def test_accepts_what_the_operator_accepts(policed: ApiServer, name: str, value: str) -> None:
    body = policed.create(annotations={PREFIX + name: value}, dry_run=True)
    assert body["metadata"]["annotations"] == {PREFIX + name: value}
    assert parse_resource(body).problem is None


@pytest.mark.parametrize(("name", "value", "allowed"), REFUSED)
def test_refuses_what_the_operator_refuses(policed: ApiServer, name: str, value: str, allowed: str) -> None:
    with pytest.raises(Refused) as refusal:
        policed.create(annotations={PREFIX + name: value}, dry_run=True)
    message = json.loads(str(refusal.value))["message"]
    shown = "" if len(value) > LONG or "\n" in value else f" is '{value}'"
    assert f"annotation {PREFIX}{name}{shown}: {allowed}" in message


def test_a_change_to_a_bad_value_is_refused(policed: ApiServer) -> None:
    name = policed.create(annotations={PREFIX + "priority": "2"})["metadata"]["name"]
    with pytest.raises(Refused, match=re.escape("priority is '11': must be 0 to 9")):
        policed.patch(name, {"metadata": {"annotations": {PREFIX + "priority": "11"}}})
    assert policed.get(name)["metadata"]["annotations"] == {PREFIX + "priority": "2"}


def test_all_annotations_can_be_removed(policed: ApiServer) -> None:
    name = policed.create(annotations={PREFIX + "priority": "2", "other": "x"})["metadata"]["name"]
    body = policed.patch(name, {"metadata": {"annotations": None}})
    assert "annotations" not in body["metadata"]


def test_an_object_from_before_the_policy_can_be_changed(unpoliced_name: str, policed: ApiServer) -> None:
    policed.patch_status(unpoliced_name, {"attempt": 1})
    policed.patch(unpoliced_name, {"metadata": {"labels": {"team": "a"}, "finalizers": ["example.com/hold"]}})
    policed.patch(unpoliced_name, {"metadata": {"finalizers": None}})
    with pytest.raises(Refused, match="must be 1 to 20"):
        policed.patch(unpoliced_name, {"metadata": {"annotations": {PREFIX + "max-attempts": "many"}}})
    for name, value in (("priority", "2"), ("max-attempts", "5")):
        policed.patch(unpoliced_name, {"metadata": {"annotations": {PREFIX + name: value}}})
    assert parse_resource(policed.get(unpoliced_name)).problem is None
