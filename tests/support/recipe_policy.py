"""An administrator's admission policy that forbids one recipe in one namespace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import yaml

from tests.support.api_server import ApiServer, Refused
from tests.support.operator_process import wait_for

FORBIDDEN: Final = "forbidden"
"""The recipe."""
REFUSAL: Final = "denied request: this recipe may not be used"
"""How the API server's refusal ends."""


@contextmanager
def recipe_forbidden(api: ApiServer, folder: Path) -> Iterator[None]:
    """Enforce the policy; it answers 403, as a missing right does."""
    name = {"name": f"recipes-{api.namespace}"}
    group = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": ["codemyspec.com"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["*"]}
    validation = {
        "expression": f"object.spec.recipe != '{FORBIDDEN}'",
        "message": "this recipe may not be used",
        "reason": "Forbidden",
    }
    policy = {
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "here", "expression": f"request.namespace == '{api.namespace}'"}],
        "validations": [validation],
    }
    binding = {"policyName": name["name"], "validationActions": ["Deny"]}
    bodies = [
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": name, "spec": policy},
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": name, "spec": binding},
    ]
    file = folder / "policy.yaml"
    file.write_text(yaml.safe_dump_all(bodies))
    api.kubectl("apply", "-f", str(file))
    wait_for(lambda: _is_enforced(api), "the policy to be enforced")
    yield
    api.kubectl("delete", "-f", str(file))


def _is_enforced(api: ApiServer) -> bool:
    try:
        api.create(spec={"recipe": FORBIDDEN}, dry_run=True)
    except Refused:
        return True
    return False
