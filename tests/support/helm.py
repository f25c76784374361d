"""Helm, built once from its module, and the chart as it renders."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from devcluster import DevclusterError
from devcluster.build import Module, build_program
from tests.support.manifests import ROOT, SYSTEM

CHART: Final = ROOT / "charts" / "projectsetup"
HELM: Final = Module(
    ROOT / "tests" / "helm",
    {"helm": "helm.sh/helm/v4/cmd/helm"},
    ("-mod=readonly", "-trimpath", "-ldflags=-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1"),
)
_LIMIT: Final = 180.0


class HelmError(Exception):
    """helm failed; the text is its standard error."""


def require_helm() -> None:
    """Skip the test, with the reason, where Helm cannot be built."""
    try:
        build_program("helm", HELM)
    except (DevclusterError, OSError) as error:
        pytest.skip(f"helm cannot be built: {error}")


def helm(*arguments: str, kubeconfig: Path | None = None) -> str:
    """The output of a helm command; with a cluster, in the operator's namespace. Raises HelmError."""
    cluster = () if kubeconfig is None else (f"--kubeconfig={kubeconfig}", f"--namespace={SYSTEM}")
    command = [str(build_program("helm", HELM)), *arguments, *cluster]
    environment = {**os.environ, "HELM_NO_PLUGINS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=_LIMIT, env=environment, cwd=ROOT
    )
    if done.returncode != 0:
        raise HelmError(done.stderr)
    return done.stdout


def render(*arguments: str) -> list[dict[str, Any]]:
    """The objects that the chart makes in the operator's namespace."""
    text = helm("template", "projectsetup", str(CHART), f"--namespace={SYSTEM}", *arguments)
    return [body for body in yaml.safe_load_all(text) if body]
