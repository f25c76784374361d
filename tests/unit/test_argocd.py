"""The order in which the root application of Argo CD applies the others."""

from __future__ import annotations

from tests.support.manifests import MANIFESTS, read

ARGOCD = MANIFESTS / "argocd"


def test_the_operator_comes_before_the_projects() -> None:
    (root,) = read(ARGOCD / "root-application.yaml")
    names = root["spec"]["source"]["directory"]["include"].strip("{}").split(",")
    applications = [read(ARGOCD / name)[0] for name in names]
    waves = {app["spec"]["source"]["path"]: app["metadata"]["annotations"] for app in applications}
    assert list(waves) == ["manifests/base", "setups"]
    assert [wave["argocd.argoproj.io/sync-wave"] for wave in waves.values()] == ["0", "1"]
