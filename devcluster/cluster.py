"""One local control plane in one folder: brought up, taken down, and its parts killed and started again."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from devcluster.apiserver import ApiServer
from devcluster.build import build
from devcluster.errors import DevclusterError, PortTaken
from devcluster.etcd import Etcd
from devcluster.postgres import Postgres
from devcluster.processes import Program
from devcluster.state import State, write_private

PARTS: Final = ("etcd", "postgres", "apiserver")
"""In the order in which they are started: the API server waits for etcd while PostgreSQL makes its data."""
TRIES: Final = 5
"""How often other ports are tried when somebody took those that were free a moment ago."""


class Part(Protocol):
    """One program of a cluster."""

    program: Program

    def spawn(self) -> None: ...

    def await_ready(self) -> None: ...


class Cluster:
    """etcd, kube-apiserver and PostgreSQL; `directory` is theirs alone. With `fsync` not even a power cut loses what
    they acknowledged; it counts when the cluster is first brought up. Every method raises DevclusterError."""

    def __init__(self, directory: Path | str, *, fsync: bool = False) -> None:
        self.directory = Path(directory).absolute()
        self.kubeconfig = self.directory / "kubeconfig"
        self._fsync = fsync
        self._state = self.directory / "cluster.json"

    @property
    def database_url(self) -> str:
        """How a superuser reaches the database."""
        return self._postgres(State.read(self._state)).url

    def up(self) -> bool:
        """Start all that does not run and return when all of it answers; False when all of it did already.

        What fails at the first start is taken down again.
        """
        build()
        made_folder = not self.directory.exists()
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if self._state.exists():
                return self._bring_up(State.read(self._state))
            if any(self.directory.iterdir()):
                raise DevclusterError(f"{self.directory} is not empty and holds no devcluster: name another folder")
            state = State.new(fsync=self._fsync, made_folder=made_folder)
            try:
                self._first_start(state)
            except BaseException:
                self._remove(state)
                raise
            return True

    def down(self) -> None:
        """Kill all parts and remove the folder's contents, and the folder too if `up` made it."""
        if not self.directory.exists() or not any(self.directory.iterdir()):
            return
        with self._locked():
            self._remove(State.read(self._state))

    def stop(self, name: str) -> None:
        """SIGKILL the part `name`, one of PARTS; returns when it is gone."""
        with self._locked():
            self._parts(State.read(self._state))[_known(name)].program.kill()

    def start(self, name: str) -> None:
        """Start the part `name` again, with the same data on the same port; returns when it answers."""
        with self._locked():
            part = self._parts(State.read(self._state))[_known(name)]
            if part.program.pid is None:
                part.spawn()
            part.await_ready()

    def _first_start(self, state: State) -> None:
        for left in reversed(range(TRIES)):
            state.write(self._state)
            try:
                self._bring_up(state)
            except PortTaken:
                if not left:
                    raise
                self._clear()
                state = State.new(fsync=state.fsync, made_folder=state.made_folder)
            else:
                return

    def _bring_up(self, state: State) -> bool:
        parts = self._parts(state)
        missing = [name for name in PARTS if parts[name].program.pid is None]
        for name in PARTS:
            if name == "apiserver":
                parts["etcd"].await_ready()
            if name in missing:
                parts[name].spawn()
        for part in parts.values():
            part.await_ready()
        write_private(self.kubeconfig, self._apiserver(state).kubeconfig())
        environment = f"KUBECONFIG={self.kubeconfig}\nDATABASE_URL={self._postgres(state).url}\n"
        write_private(self.directory / "env", environment)
        return bool(missing)

    def _remove(self, state: State) -> None:
        self._clear()
        if state.made_folder:
            self.directory.rmdir()

    def _clear(self) -> None:
        """The state goes last, so that what was interrupted can be done again."""
        for name in reversed(PARTS):
            Program(self.directory, name).kill()
        for entry in sorted(self.directory.iterdir(), key=self._state.__eq__):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    def _parts(self, state: State) -> dict[str, Part]:
        return {"etcd": self._etcd(state), "postgres": self._postgres(state), "apiserver": self._apiserver(state)}

    def _etcd(self, state: State) -> Etcd:
        ports = {"port": state.etcd_port, "peer_port": state.etcd_peer_port}
        return Etcd(build()["etcd"], self.directory, **ports, fsync=state.fsync)

    def _apiserver(self, state: State) -> ApiServer:
        etcd_url = self._etcd(state).url
        program = build()["kube-apiserver"]
        return ApiServer(program, self.directory, port=state.apiserver_port, token=state.token, etcd_url=etcd_url)

    def _postgres(self, state: State) -> Postgres:
        return Postgres(self.directory, port=state.postgres_port, password=state.password, fsync=state.fsync)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One command at a time in one folder."""
        try:
            folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise DevclusterError(f"there is no devcluster in {self.directory}: bring it up first") from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _known(name: str) -> str:
    if name not in PARTS:
        raise DevclusterError(f"there is no part {name!r}: name one of {', '.join(PARTS)}")
    return name
