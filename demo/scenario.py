"""The scenario of the demo: a control plane, an operator, two bare repositories and a project."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from devcluster import Cluster
from devcluster.build import find_programs
from devcluster.ports import free_port

NAMESPACE: Final = "default"
READY_LIMIT: Final = 60.0
END_LIMIT: Final = 60.0


class DemoFailed(Exception):
    """A part of the demo failed; the text is one line for the user."""


class Scenario:
    """Starts everything, shows one setup, and cleans up; all files are in one temporary folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = Path(tempfile.mkdtemp(prefix="projectsetup-demo-"))
        self._cluster: Cluster | None = None
        self._operator: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] = {}
        self._project_id = ""

    def bring_up(self) -> None:
        """Start everything that a setup needs, and create the project."""
        self._environment = {**os.environ, **self._control_plane(), "PROJECTSETUP_ALLOW_FILE_REPOS": "true"}
        _headline("Installing the custom resource and its admission policy")
        self._kubectl("apply", "--server-side", "-f", str(self._root / "crds" / "projectsetups.yaml"))
        self._kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/projectsetups.codemyspec.com")
        self._kubectl("apply", "-f", str(self._root / "manifests" / "base" / "admission-policy.yaml"))
        _headline("Creating the database tables")
        self._projectsetup("migrate")
        self._start_operator()
        self._create_project()

    def show(self) -> None:
        """Apply the ProjectSetup, watch it until it ends, and show the result."""
        manifest = self._folder / "projectsetup.yaml"
        manifest.write_text(
            "apiVersion: codemyspec.com/v1alpha1\n"
            "kind: ProjectSetup\n"
            f"metadata:\n  name: {self._project_id}\n  namespace: {NAMESPACE}\n"
            "  annotations:\n    setup.codemyspec.com/priority: '0'\n"
        )
        _headline("Requesting the setup: kubectl apply -f projectsetup.yaml")
        print(manifest.read_text())
        self._kubectl("apply", "-f", str(manifest))
        watched = self._run([_program("projectsetup"), "status", self._project_id, "-n", NAMESPACE, "--watch"])
        _headline("The resource: kubectl get projectsetups -o wide")
        self._kubectl("get", "projectsetups", "-n", NAMESPACE, "-o", "wide")
        _headline(f"The project in the database: projectsetup projects get {self._project_id}")
        self._projectsetup("projects", "get", self._project_id)
        for name in ("code", "docs"):
            _headline(f"What was pushed to the {name} repository: git log --stat")
            self._run(["git", "-C", str(self._repository(name)), "log", "--stat=100", "main"])
        if watched != 0 or self._phase() != "Succeeded":
            raise DemoFailed(
                f"the setup ended in phase {self._phase()}: {self._log.read_text(errors='replace').strip()[-2000:]}"
            )

    def print_instructions(self) -> None:
        """Print how to use and how to stop what KEEP=1 keeps running."""
        _headline("Everything keeps running (KEEP=1). To use it:")
        for name in ("KUBECONFIG", "DATABASE_URL"):
            print(f"export {name}={self._environment[name]}")
        print(f"kubectl get projectsetups -w                # kubectl: {find_programs().get('kubectl', 'kubectl')}")
        print(f"{_program('projectsetup')} --help")
        print('psql "$DATABASE_URL"                         # docs/applications.md: request setups in SQL')
        print(f"git clone {self._repository('code')} my-service")
        print(f"tail -f {self._log}")
        _headline("To stop it:")
        print(f"kill {self._operator.pid if self._operator else ''}")
        if self._cluster is not None:
            print(f"{sys.executable} -m devcluster down --dir {self._cluster.directory}")
        print(f"rm -r {self._folder}")

    def clean_up(self) -> None:
        """Delete the ProjectSetup and the project, and stop the operator and the control plane."""
        if self._operator is not None and self._project_id:
            self._quietly(_kubectl(), "delete", "projectsetup", self._project_id, "-n", NAMESPACE, "--ignore-not-found")
        if self._operator is not None and self._operator.poll() is None:
            self._operator.send_signal(signal.SIGTERM)
            try:
                self._operator.wait(END_LIMIT)
            except subprocess.TimeoutExpired:
                self._operator.kill()
        if self._project_id:
            self._quietly(_program("projectsetup"), "projects", "delete", self._project_id)
        if self._cluster is not None:
            self._cluster.down()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _control_plane(self) -> Mapping[str, str]:
        if os.environ.get("KUBECONFIG") and os.environ.get("DATABASE_URL"):
            _headline("Using the cluster of KUBECONFIG and the database of DATABASE_URL")
            return {}
        _headline("Starting a local control plane: etcd, kube-apiserver, PostgreSQL")
        self._cluster = Cluster(self._folder / "cluster")
        self._cluster.up()
        return {"KUBECONFIG": str(self._cluster.kubeconfig), "DATABASE_URL": self._cluster.database_url}

    @property
    def _log(self) -> Path:
        return self._folder / "operator.log"

    def _start_operator(self) -> None:
        _headline(f"Starting the operator (log: {self._log})")
        port = free_port()
        environment = {
            **self._environment,
            "PROJECTSETUP_HTTP_PORT": str(port),
            "PROJECTSETUP_INTAKE_NAMESPACE": NAMESPACE,  # KEEP=1: docs/applications.md can be tried out
        }
        with self._log.open("wb") as log:
            self._operator = subprocess.Popen(
                [_program("projectsetup"), "operator"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + READY_LIMIT
        while not _is_ready(port):
            if self._operator.poll() is not None:
                raise DemoFailed(f"the operator exited: {self._log.read_text(errors='replace').strip()[-500:]}")
            if time.monotonic() > end:
                raise DemoFailed(f"the operator was not ready within {READY_LIMIT:.0f} s")
            time.sleep(0.1)

    def _create_project(self) -> None:
        name = f"Demo Service {secrets.token_hex(2)}"
        _headline(f"Creating the project {name!r} and two empty git repositories")
        for repository in ("code", "docs"):
            self._quietly("git", "init", "--bare", "--quiet", "-b", "main", str(self._repository(repository)))
        command = [_program("projectsetup"), "projects", "create", "--name", name]
        command += ["--description", "A service that the demo sets up"]
        command += ["--code-repo", str(self._repository("code")), "--docs-repo", str(self._repository("docs"))]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DemoFailed(done.stderr.strip())
        self._project_id = done.stdout.strip()
        print(self._project_id)

    def _repository(self, name: str) -> Path:
        return self._folder / f"{name}.git"

    def _phase(self) -> str:
        command = [
            _kubectl(),
            "get",
            "projectsetup",
            self._project_id,
            "-n",
            NAMESPACE,
            "-o",
            "jsonpath={.status.phase}",
        ]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False).stdout

    def _kubectl(self, *arguments: str) -> None:
        if self._run([_kubectl(), *arguments]) != 0:
            raise DemoFailed(f"kubectl {arguments[0]} failed")

    def _projectsetup(self, *arguments: str) -> None:
        if self._run([_program("projectsetup"), *arguments]) != 0:
            raise DemoFailed(f"projectsetup {' '.join(arguments[:2])} failed")

    def _run(self, command: list[str]) -> int:
        sys.stdout.flush()
        return subprocess.run(command, env=self._environment, check=False).returncode

    def _quietly(self, *command: str) -> None:
        subprocess.run(command, env=self._environment or None, stdout=subprocess.DEVNULL, check=False)


def _program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _kubectl() -> str:
    return str(find_programs()["kubectl"])


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004  # OK
    except (OSError, urllib.error.URLError):
        return False


def _headline(text: str) -> None:
    print(f"\n==> {text}", flush=True)
