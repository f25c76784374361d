"""What the demonstration is played on: a control plane, an operator, two bare repositories and a project."""

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
    """The demonstration did not do what it shows; the text is one clear line."""


class Stage:
    """Brings all up, shows one setup, cleans up; everything of its own is below one temporary folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = Path(tempfile.mkdtemp(prefix="projectsetup-demo-"))
        self._cluster: Cluster | None = None
        self._operator: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] = {}
        self._project_id = ""

    def bring_up(self) -> None:
        """Everything that a setup needs, the project's record included."""
        self._environment = {**os.environ, **self._control_plane(), "PROJECTSETUP_ALLOW_FILE_REPOS": "true"}
        _say("custom resource and admission policy")
        self._kubectl("apply", "--server-side", "-f", str(self._root / "crds" / "projectsetups.yaml"))
        self._kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/projectsetups.codemyspec.com")
        self._kubectl("apply", "-f", str(self._root / "manifests" / "base" / "admission-policy.yaml"))
        _say("database schema")
        self._projectsetup("migrate")
        self._start_operator()
        self._make_project()

    def show(self) -> None:
        """Apply the ProjectSetup, follow it to its end, and show what came of it."""
        manifest = self._folder / "projectsetup.yaml"
        manifest.write_text(
            "apiVersion: codemyspec.com/v1alpha1\n"
            "kind: ProjectSetup\n"
            f"metadata:\n  name: {self._project_id}\n  namespace: {NAMESPACE}\n"
            "  annotations:\n    setup.codemyspec.com/priority: '0'\n"
        )
        _say(f"kubectl apply -f {manifest}")
        print(manifest.read_text())
        self._kubectl("apply", "-f", str(manifest))
        followed = self._run([_program("projectsetup"), "status", self._project_id, "-n", NAMESPACE, "--watch"])
        _say("kubectl get projectsetups -o wide")
        self._kubectl("get", "projectsetups", "-n", NAMESPACE, "-o", "wide")
        _say(f"projectsetup projects get {self._project_id}")
        self._projectsetup("projects", "get", self._project_id)
        for name in ("code", "docs"):
            _say(f"git log, {name} repository")
            self._run(["git", "-C", str(self._repository(name)), "log", "--stat=100", "main"])
        if followed != 0 or self._phase() != "Succeeded":
            raise DemoFailed(f"the setup ended as {self._phase()}; the operator's log is {self._log}")

    def print_instructions(self) -> None:
        """What stays up with KEEP=1, and how to end it."""
        _say("everything stays up (KEEP=1)")
        for name in ("KUBECONFIG", "DATABASE_URL"):
            print(f"export {name}={self._environment[name]}")
        print(f"kubectl get projectsetups -w                # kubectl: {find_programs().get('kubectl', 'kubectl')}")
        print(f"{_program('projectsetup')} --help")
        print(f"git clone {self._repository('code')} my-service")
        print(f"tail -f {self._log}")
        print("\nto end it:")
        print(f"kill {self._operator.pid if self._operator else ''}")
        if self._cluster is not None:
            print(f"{sys.executable} -m devcluster down --dir {self._cluster.directory}")
        print(f"rm -r {self._folder}")

    def clean_up(self) -> None:
        """Remove the ProjectSetup and the project, end the operator, take down what was brought up."""
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
            _say("the cluster of KUBECONFIG and the database of DATABASE_URL")
            return {}
        _say("control plane: etcd, kube-apiserver, PostgreSQL")
        self._cluster = Cluster(self._folder / "cluster")
        self._cluster.up()
        return {"KUBECONFIG": str(self._cluster.kubeconfig), "DATABASE_URL": self._cluster.database_url}

    @property
    def _log(self) -> Path:
        return self._folder / "operator.log"

    def _start_operator(self) -> None:
        _say(f"operator (its log: {self._log})")
        port = free_port()
        environment = {**self._environment, "PROJECTSETUP_HTTP_PORT": str(port)}
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
                raise DemoFailed(f"the operator ended: {self._log.read_text(errors='replace').strip()[-500:]}")
            if time.monotonic() > end:
                raise DemoFailed(f"the operator was not ready within {READY_LIMIT:.0f} s")
            time.sleep(0.1)

    def _make_project(self) -> None:
        name = f"Demo Service {secrets.token_hex(2)}"
        _say(f"two bare repositories and the project {name!r}")
        for repository in ("code", "docs"):
            self._quietly("git", "init", "--bare", "--quiet", "-b", "main", str(self._repository(repository)))
        command = [_program("projectsetup"), "projects", "create", "--name", name]
        command += ["--description", "A service that the demonstration has set up"]
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


def _say(what: str) -> None:
    print(f"\n==> {what}", flush=True)
