"""The operator as its users install it: kubectl, manifests/ and two images."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import psycopg

from devcluster import Cluster
from devcluster.build import find_programs
from projectsetup.api.constants import API_VERSION, KIND
from projectsetup.engines.kubernetes_job.manifest import PROJECT
from projectsetup.git_hosts import GIT_HOSTS
from projectsetup.kube.lease import LEASE_NAME
from tests.support.databases import on_database
from tests.support.manifests import ACCOUNT, BASE, SYSTEM, Body, Kubectl
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import ENDED

DATABASE: Final = "projectsetup-database"
RECIPES: Final = "projectsetup-recipes"
OPERATORS: Final = "--selector=app.kubernetes.io/name=projectsetup,app.kubernetes.io/component=operator"
LIMIT: Final = 120.0


class Installed:
    """The operator on one cluster, with a database of its own; nothing is applied yet."""

    def __init__(self, cluster: Cluster, folder: Path, recipes: Mapping[str, str]) -> None:
        """`folder` keeps what operators log, also of those whose pods are gone. Git hosts may be at the gateway."""
        self._git_hosts = cluster.gateway
        self.kubectl = Kubectl(cluster.kubeconfig)
        self._follow = [str(find_programs()["kubectl"]), f"--kubeconfig={cluster.kubeconfig}"]
        self._folder = folder
        self._recipes = recipes
        self._applied: Path | None = None
        self._logs: dict[str, subprocess.Popen[bytes]] = {}
        name = f"installed_{uuid4().hex[:8]}"
        with psycopg.connect(cluster.database_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        self.database_url = on_database(cluster.database_url, name)
        self._url_for_pods = on_database(cluster.in_cluster_database_url, name)

    def prepare(self) -> None:
        """The namespace, and what no manifest holds: where the database is, and recipes of one's own."""
        self._await_gone(f"namespace/{SYSTEM}")
        self.kubectl("apply", f"--filename={BASE / 'namespace.yaml'}")
        self.supply_database()
        literals = [f"--from-literal={file}={text}" for file, text in self._recipes.items()]
        self.kubectl("create", "configmap", RECIPES, f"--namespace={SYSTEM}", *literals)

    def supply_database(self) -> None:
        """Create the Secret with the address of the database."""
        address = f"--from-literal=DATABASE_URL={self._url_for_pods}"
        self.kubectl("create", "secret", "generic", DATABASE, f"--namespace={SYSTEM}", address)

    def use(self, folder: Path) -> None:
        """Apply this kustomization unless that was the last one; returns when two pods of it run, and no others."""
        if self._applied != folder:
            self.kubectl.install(folder)
            listed = f"{GIT_HOSTS}={self._git_hosts}"
            self.kubectl(
                "set", "env", f"deployment/{ACCOUNT}", f"--namespace={SYSTEM}", "--containers=operator", listed
            )
            self._applied = folder
            self.settle()

    def settle(self) -> None:
        """Return when two pods are ready as the Deployment is now, one of them leads, and no others are left."""
        wait_for(self._is_settled, "two pods of the operator to be ready, one of which leads", limit=LIMIT)
        for name, pod in self.operators().items():
            self._keep_log(name, pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2])

    def _is_settled(self) -> bool:
        deployment = self.kubectl.get("deployment", ACCOUNT, f"--namespace={SYSTEM}")
        status, generation = deployment["status"], deployment["metadata"]["generation"]
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
        operators = self.operators()
        return (
            (status.get("observedGeneration"), counts) == (generation, [2, 2, 2])
            and len(operators) == 2
            and self.leader() in operators
        )

    def operators(self) -> dict[str, Body]:
        """The pods of the operator by name, those that are ending included."""
        pods = self.kubectl.get("pods", f"--namespace={SYSTEM}", OPERATORS)["items"]
        return {pod["metadata"]["name"]: pod for pod in pods}

    def leader(self) -> str:
        """The pod that holds the Lease, empty when none does."""
        lease = self.kubectl.get("leases", f"--namespace={SYSTEM}", f"--field-selector=metadata.name={LEASE_NAME}")
        return next((str(item["spec"].get("holderIdentity") or "") for item in lease["items"]), "")

    def run(self, *command: str, pod: str = f"deployment/{ACCOUNT}") -> str:
        """What a command prints in a container of the operator."""
        return self.kubectl("exec", f"--namespace={SYSTEM}", pod, "--container=operator", "--", *command)

    def logs(self) -> str:
        """All that operators have logged."""
        return "\n".join(path.read_text() for path in self._folder.glob("*.log"))

    def project(self, namespace: str, name: str, code_repo: str, docs_repo: str | None = None) -> str:
        """A new project of the record, which belongs to this namespace; its id."""
        options = [f"--namespace={namespace}", f"--name={name}", f"--code-repo={code_repo}"]
        options += [f"--docs-repo={docs_repo}"] if docs_repo else []
        return self.run("projectsetup", "projects", "create", *options).strip()

    def set_up(self, namespace: str, project: str, **spec: object) -> None:
        """Create the ProjectSetup of a project."""
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": project}, "spec": spec}
        self.kubectl("create", f"--namespace={namespace}", "--filename=-", given=body)

    def status(self, namespace: str, project: str) -> Body:
        """Its `.status`."""
        found: Body = self.kubectl.get("projectsetup", project, f"--namespace={namespace}").get("status", {})
        return found

    def ended(self, namespace: str, project: str) -> Body:
        """The status once the setup has ended."""
        try:
            wait_for(
                lambda: self.status(namespace, project).get("phase") in ENDED, f"setup {project} to end", limit=LIMIT
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.status(namespace, project)}\n{self.logs()[-4000:]}") from None
        return self.status(namespace, project)

    def made_for(self, kind: str, namespace: str, project: str) -> list[Body]:
        """The Jobs or pods of a project."""
        found: list[Body] = self.kubectl.get(kind, f"--namespace={namespace}", f"--selector={PROJECT}={project}")[
            "items"
        ]
        return found

    @contextmanager
    def watching(self, namespace: str, file: Path) -> Iterator[None]:
        """`kubectl get projectsetups --watch` writes to the file meanwhile."""
        with file.open("wb") as output:
            command = [*self._follow, "get", "projectsetups", "--watch", f"--namespace={namespace}"]
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            _end(process)

    def remove(self) -> None:
        """Take away all of it, and end what follows its logs."""
        self.kubectl("delete", f"--kustomize={BASE}", "--ignore-not-found", "--wait=false")
        self._await_gone(f"namespace/{SYSTEM}", "crd/projectsetups.codemyspec.com")
        for process in self._logs.values():
            _end(process)

    def _await_gone(self, *names: str) -> None:
        def gone() -> bool:
            return not self.kubectl("get", *names, "--ignore-not-found", "--output=name")

        wait_for(gone, f"{' and '.join(names)} to be gone", limit=LIMIT)

    def _keep_log(self, name: str, container: str) -> None:
        if container in self._logs:
            return
        command = [*self._follow, "logs", "--follow", f"--namespace={SYSTEM}", "--all-containers", name]
        with (self._folder / f"{container}.log").open("wb") as output:
            self._logs[container] = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(LIMIT)
