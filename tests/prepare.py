"""Builds, once and with progress, what the tests need; says what of it this machine cannot have."""

from __future__ import annotations

import sys

from devcluster import DevclusterError
from devcluster.build import build as build_programs
from devcluster.build import build_program
from devcluster.node.prerequisites import node_obstacle
from images import ImagesError, images_obstacle
from images import build as build_images
from monitoring import MonitoringError
from monitoring.prometheus import fetch as fetch_prometheus
from tests.support.chromium import install_chromium
from tests.support.debian_program import DebianProgram
from tests.support.go_modules import ARGOCD_APPLICATION, FLUX_GIT_REPOSITORY, FLUX_KUSTOMIZATION, KSTATUS, fetch
from tests.support.pgbouncer import PGBOUNCER
from tests.support.ssh_host import SSHD


def main() -> int:
    """0, or 1 where something can be had and could not be built."""
    try:
        if obstacle := node_obstacle():
            print(f"the tests on a real node will be skipped: {obstacle}")
        build_programs(node=obstacle is None)
        if obstacle := images_obstacle():
            print(f"the tests of the images will be skipped: {obstacle}")
        else:
            build_images()
    except (DevclusterError, ImagesError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    _prepare_gitops()
    _prepare_monitoring()
    _prepare_browser()
    _prepare_program(PGBOUNCER)
    _prepare_program(SSHD)
    return 0


def _prepare_gitops() -> None:
    """What only some tests of GitOps need, and no machine has to have."""
    try:
        build_program("kstatus", KSTATUS)
        for file in (ARGOCD_APPLICATION, FLUX_KUSTOMIZATION, FLUX_GIT_REPOSITORY):
            fetch(file)
    except (DevclusterError, OSError) as error:
        print(f"tests of GitOps will be skipped: {' '.join(str(error).split())}")


def _prepare_monitoring() -> None:
    """Prometheus, which only the tests of metrics, alerts and dashboard need."""
    try:
        fetch_prometheus()
    except (MonitoringError, OSError) as error:
        print(f"tests with Prometheus will be skipped: {' '.join(str(error).split())}")


def _prepare_browser() -> None:
    """Chromium, which only the tests of the dashboard's pages need."""
    try:
        install_chromium()
    except (DevclusterError, OSError) as error:
        print(f"tests in a browser will be skipped: {' '.join(str(error).split())}")


def _prepare_program(program: DebianProgram) -> None:
    """PgBouncer and sshd, which only the tests of poolers and of pushing need."""
    try:
        program.fetch()
    except (DevclusterError, OSError) as error:
        print(f"tests with {program.package} will be skipped: {' '.join(str(error).split())}")


if __name__ == "__main__":
    sys.exit(main())
