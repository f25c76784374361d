"""The manifests as kustomize builds them, and kubectl as tests call it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from devcluster.build import find_programs

ROOT: Final = Path(__file__).parents[2]
MANIFESTS: Final = ROOT / "manifests"
BASE: Final = MANIFESTS / "base"
SYSTEM: Final = "projectsetup-system"
ACCOUNT: Final = "projectsetup-operator"

_SECONDS: Final = 30.0

Body = dict[str, Any]


class Refused(Exception):
    """kubectl failed; the text is its standard error."""


class Kubectl:
    """kubectl as the administrator of the cluster that `kubeconfig` names."""

    def __init__(self, kubeconfig: Path) -> None:
        self._command = [str(find_programs()["kubectl"]), f"--kubeconfig={kubeconfig}"]

    def __call__(self, *arguments: str, given: object = None) -> str:
        """Run kubectl with `given` as JSON on standard input; returns its output. Raises Refused."""
        text = None if given is None else json.dumps(given)
        done = subprocess.run(
            [*self._command, *arguments], input=text, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if done.returncode != 0:
            raise Refused(done.stderr)
        return done.stdout

    def get(self, *arguments: str) -> Body:
        """The result of `kubectl get`."""
        found: Body = json.loads(self("get", *arguments, "--output=json"))
        return found

    def make_namespace(self, name: str) -> None:
        """Create the namespace if it does not exist."""
        self("apply", "--filename=-", given={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def install(self, folder: Path = BASE) -> None:
        """Apply a kustomization and wait for the CRD."""
        self("apply", f"--kustomize={folder}")
        self("wait", "--for=condition=Established", "--timeout=20s", "crd/projectsetups.codemyspec.com")


def token_kubeconfig(administrator: Path, token: str, path: Path) -> Path:
    """Write to `path` the administrator's kubeconfig with this token in place of other credentials."""
    content = yaml.safe_load(administrator.read_text())
    content["users"] = [{"name": user["name"], "user": {"token": token}} for user in content["users"]]
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content))
    return path


def build(folder: Path) -> list[Body]:
    """The objects that kustomize builds from `folder`."""
    command = [str(find_programs()["kubectl"]), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def read(file: Path) -> list[Body]:
    """The objects in one file."""
    return list(yaml.safe_load_all(file.read_text()))


def pick(objects: list[Body], kind: str, name: str) -> Body:
    """The one object of this kind and name."""
    found = [body for body in objects if (body["kind"], body["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def operator_container(objects: list[Body]) -> Body:
    """The operator's container in its Deployment."""
    spec = pick(objects, "Deployment", ACCOUNT)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    return dict(container)


def plain_rules(target: Path) -> Path:
    """Write the groups of the PrometheusRule to `target`."""
    (rule,) = read(MANIFESTS / "monitoring" / "rules.yaml")
    target.write_text(yaml.safe_dump(rule["spec"], sort_keys=False))
    return target
