"""Builds the prerequisites of the tests once, with progress, and reports what is unavailable on this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from devcluster import DevclusterError
from devcluster.build import build as build_programs
from devcluster.build import build_program, cache_folder
from devcluster.node.prerequisites import install_packages, node_obstacle
from images import ImagesError, images_obstacle
from images import build as build_images
from monitoring import MonitoringError
from monitoring.prometheus import fetch as fetch_prometheus
from tests.support.argocd_server import REDIS
from tests.support.chromium import install_chromium
from tests.support.go_modules import ARGOCD, ARGOCD_CONFIG, ARGOCD_CRDS, FLUX, FLUX_CRDS, KSTATUS, fetch
from tests.support.helm import HELM
from tests.support.pgbouncer import PGBOUNCER
from tests.support.ssh_host import SSHD

Errors = (DevclusterError, ImagesError, MonitoringError, OSError)
MIN_REPORTED_SECONDS: Final = 2.0
"""Seconds; a shorter preparation found everything in place."""


def main() -> int:
    """0, or 1 if a required part could not be built."""
    began = time.monotonic()
    if obstacle := node_obstacle():
        print(f"the tests on a real node will be skipped: {obstacle}", flush=True)
    elif not _needed("the packages of a node", lambda: install_packages(cache_folder())):
        return 1
    node = obstacle is None
    with ThreadPoolExecutor() as pool:  # no build keeps two cores busy all the time
        parts = [pool.submit(_with_go, node=node), pool.submit(_with_apt), pool.submit(_more_with_go)]
        succeeded = [part.result() for part in parts]
    print(f"preparation took {time.monotonic() - began:.0f} s", flush=True)
    return 0 if all(succeeded) else 1


def _with_go(*, node: bool) -> bool:
    return _needed("the control plane" + (" and the node" if node else ""), lambda: build_programs(node=node))


def _more_with_go() -> bool:
    _optional("GitOps", _prepare_gitops)
    _optional("Helm", lambda: build_program("helm", HELM))
    _optional("Prometheus", fetch_prometheus)
    return True


def _with_apt() -> bool:
    built = True
    if obstacle := images_obstacle():
        print(f"the tests of the images will be skipped: {obstacle}", flush=True)
    else:
        built = _needed("the images", build_images)
    _optional("a browser", install_chromium)
    _optional(PGBOUNCER.package, PGBOUNCER.fetch)
    _optional(SSHD.package, SSHD.fetch)
    _optional(REDIS.package, REDIS.fetch)
    return built


def _prepare_gitops() -> None:
    for module in (KSTATUS, ARGOCD, FLUX):
        for name in module.programs:
            build_program(name, module)
    for shipped in (ARGOCD_CRDS, ARGOCD_CONFIG, *FLUX_CRDS):
        fetch(shipped)


def _needed(what: str, prepare: Callable[[], object]) -> bool:
    """Whether the preparation succeeded; failure is an error."""
    try:
        _timed(what, prepare)
    except Errors as error:
        print(f"preparing {what} failed: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return False
    return True


def _optional(what: str, prepare: Callable[[], object]) -> None:
    """Prepare a part without which some tests are skipped."""
    try:
        _timed(what, prepare)
    except Errors as error:
        print(f"tests with {what} will be skipped: {' '.join(str(error).split())}", flush=True)


def _timed(what: str, prepare: Callable[[], object]) -> None:
    began = time.monotonic()
    prepare()
    if (took := time.monotonic() - began) > MIN_REPORTED_SECONDS:
        print(f"prepared {what} in {took:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
