"""A local cluster in one folder: starting it, stopping it, and killing and restarting its parts."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from devcluster.build import build
from devcluster.control_plane import ApiServer, Etcd
from devcluster.errors import DevclusterError, PortTaken
from devcluster.files import write_private
from devcluster.node.network import host_lock
from devcluster.node.node import Node, NodeState
from devcluster.node.prerequisites import node_obstacle
from devcluster.postgres import INITDB, Postgres
from devcluster.processes import Program
from devcluster.state import State

PARTS: Final = ("etcd", "postgres", "apiserver")
"""In start order: the API server waits for etcd, while PostgreSQL initializes its data."""
WAITS_FOR: Final[Mapping[str, str]] = {"apiserver": "etcd", "controller-manager": "apiserver", "kubelet": "containerd"}
"""The part that must be ready before another one starts."""
TRIES: Final = 5
"""How often a start is repeated with new ports when another process has taken one."""


class Part(Protocol):
    """A program of a cluster."""

    program: Program

    def spawn(self) -> None: ...

    def await_ready(self) -> None: ...


class Cluster:
    """etcd, kube-apiserver and PostgreSQL in `directory`; with `node`, also everything that runs pods.

    With `fsync`, acknowledged writes survive a power failure. Both options apply when the cluster is created. Every
    method raises DevclusterError.
    """

    def __init__(self, directory: Path | str, *, fsync: bool = False, node: bool = False) -> None:
        self.directory = Path(directory).absolute()
        self.kubeconfig = self.directory / "kubeconfig"
        self._fsync = fsync
        self._node = node
        self._state = self.directory / "cluster.json"

    @property
    def database_url(self) -> str:
        """The URL of the database for a superuser."""
        return self._postgres(State.read(self._state)).url

    @property
    def in_cluster_database_url(self) -> str:
        """The URL of the database for a superuser in a pod."""
        state = State.read(self._state)
        self._node_state(state)
        return self._postgres(state).url_for_pods

    @property
    def gateway(self) -> str:
        """The only address of this machine that pods can reach."""
        return self._node_state(State.read(self._state)).network.gateway

    def up(self) -> bool:
        """Start all parts that are not running and wait until they are ready; False if all were running.

        A cluster that fails to start for the first time is removed.
        """
        made_folder = not self.directory.exists()
        if self._state.exists():
            node = State.read(self._state).node is not None
            if self._node and not node:
                raise DevclusterError(f"the devcluster in {self.directory} has no node: run `down` first")
        else:
            node = self._node
        if node and (obstacle := node_obstacle()):
            raise DevclusterError(obstacle)
        build(node=node)
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if self._state.exists():
                return self._bring_up(State.read(self._state))
            if any(self.directory.iterdir()):
                raise DevclusterError(f"{self.directory} is not empty and not a devcluster: choose another folder")
            try:
                self._first_start(made_folder=made_folder)
            except BaseException:
                self._roll_back(made_folder=made_folder)
                raise
            return True

    def down(self) -> None:
        """Kill all parts and remove the contents of the folder, and the folder itself if `up` created it."""
        if not self.directory.exists() or not any(self.directory.iterdir()):
            return
        with self._locked():
            self._remove(State.read(self._state))

    def stop(self, name: str) -> None:
        """Kill the part `name`, one of PARTS or NODE_PARTS, with SIGKILL and wait for its end; containers survive."""
        with self._locked():
            self._part(name).program.kill()

    def start(self, name: str) -> None:
        """Restart the part `name` with the same data and port, and wait until it is ready."""
        with self._locked():
            part = self._part(name)
            if part.program.pid is None:
                part.spawn()
            part.await_ready()

    def load_image(self, archive: Path | str) -> None:
        """Import all images of a docker-archive or OCI archive into the node, and wait until pods can use them."""
        state = State.read(self._state)
        node = Node(self.directory, self._node_state(state), fsync=state.fsync)
        node.containerd(build(node=True)).load_image(Path(archive).absolute())

    def _first_start(self, *, made_folder: bool) -> None:
        for left in reversed(range(TRIES)):
            state = self._new_state(made_folder=made_folder)
            try:
                self._bring_up(state)
            except PortTaken:
                if not left:
                    raise
                self._clear(state)
            else:
                return

    def _new_state(self, *, made_folder: bool) -> State:
        if not self._node:
            state = State.new(fsync=self._fsync, made_folder=made_folder)
            state.write(self._state)
            return state
        with host_lock():
            state = State.new(fsync=self._fsync, made_folder=made_folder, node=True)
            state.write(self._state)
            if state.node is not None:
                state.node.network.create()
        return state

    def _bring_up(self, state: State) -> bool:
        node = self._node_of(state)
        if node is not None:
            node.prepare()
        parts = self._parts(state)
        missing = [name for name in parts if parts[name].program.pid is None]
        for name, part in parts.items():
            if name in WAITS_FOR:
                parts[WAITS_FOR[name]].await_ready()
            if name == "controller-manager" and node is not None:
                node.write_kubeconfigs(self._apiserver(state))
            if name in missing:
                part.spawn()
        for part in parts.values():
            part.await_ready()
        if node is not None:
            node.await_usable(self._apiserver(state))
        self._write_environment(state)
        return bool(missing)

    def _write_environment(self, state: State) -> None:
        write_private(self.kubeconfig, self._apiserver(state).kubeconfig())
        postgres = self._postgres(state)
        environment = {"KUBECONFIG": str(self.kubeconfig), "DATABASE_URL": postgres.url}
        if state.node is not None:
            environment["DATABASE_URL_IN_CLUSTER"] = postgres.url_for_pods
        text = "".join(f"{name}={value}\n" for name, value in environment.items())
        write_private(self.directory / "env", text)

    def _roll_back(self, *, made_folder: bool) -> None:
        if self._state.exists():
            self._remove(State.read(self._state))
        elif made_folder:
            self.directory.rmdir()

    def _remove(self, state: State) -> None:
        self._clear(state)
        if state.made_folder:
            self.directory.rmdir()

    def _clear(self, state: State) -> None:
        """Removes the state file last, so that an interrupted removal can be repeated."""
        if (node := self._node_of(state)) is not None:
            node.remove()
        for name in (*reversed(PARTS), INITDB):
            Program(self.directory, name).kill()
        for entry in sorted(self.directory.iterdir(), key=self._state.__eq__):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    def _node_state(self, state: State) -> NodeState:
        if state.node is None:
            raise DevclusterError(f"the devcluster in {self.directory} has no node")
        return state.node

    def _node_of(self, state: State) -> Node | None:
        return None if state.node is None else Node(self.directory, state.node, fsync=state.fsync)

    def _part(self, name: str) -> Part:
        parts = self._parts(State.read(self._state))
        if name not in parts:
            raise DevclusterError(f"unknown part {name!r}: choose one of {', '.join(parts)}")
        return parts[name]

    def _parts(self, state: State) -> dict[str, Part]:
        apiserver = self._apiserver(state)
        parts: dict[str, Part] = {
            "etcd": self._etcd(state),
            "postgres": self._postgres(state),
            "apiserver": apiserver,
        }
        if (node := self._node_of(state)) is None:
            return parts
        return parts | node.parts(build(node=True), apiserver)

    def _etcd(self, state: State) -> Etcd:
        ports = {"port": state.etcd_port, "peer_port": state.etcd_peer_port}
        return Etcd(build()["etcd"], self.directory, **ports, fsync=state.fsync)

    def _apiserver(self, state: State) -> ApiServer:
        node = self._node_of(state)
        return ApiServer(
            build()["kube-apiserver"],
            self.directory,
            port=state.apiserver_port,
            token=state.token,
            etcd_url=self._etcd(state).url,
            node=None if node is None else node.api_access(),
        )

    def _postgres(self, state: State) -> Postgres:
        return Postgres(
            self.directory,
            port=state.postgres_port,
            password=state.password,
            fsync=state.fsync,
            pods=None if state.node is None else state.node.network.pods,
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Serializes commands on one folder."""
        try:
            folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise DevclusterError(f"no devcluster in {self.directory}: run `up` first") from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
