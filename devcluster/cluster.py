"""One local control plane in one folder: brought up, taken down, and its parts killed and started again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from devcluster.build import build
from devcluster.controlplane import ApiServer, Etcd, new_token
from devcluster.errors import DevclusterError
from devcluster.postgres import Postgres, new_password
from devcluster.processes import Program, free_port

PARTS: Final = ("etcd", "apiserver", "postgres")
TRIES: Final = 5
"""How often new ports are tried when others took those that were free a moment ago."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What stays the same when a part is started again."""

    etcd_port: int
    etcd_peer_port: int
    apiserver_port: int
    postgres_port: int
    token: str
    password: str
    fsync: bool


class Cluster:
    """etcd, kube-apiserver and PostgreSQL below `directory`; with `fsync` a kill loses nothing acknowledged."""

    def __init__(self, directory: Path | str, *, fsync: bool = False) -> None:
        self.directory = Path(directory).absolute()
        self._fsync = fsync
        self._state = self.directory / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "kubeconfig"

    @property
    def database_url(self) -> str:
        """How to reach the PostgreSQL."""
        return self._postgres(self._settings()).url

    def up(self) -> None:
        """Start all that does not run and return when all of it answers. What fails is taken down again."""
        if self._state.exists():
            settings = self._settings()
            for part in PARTS:
                self._start(part, settings)
            return
        made_folder = not self.directory.exists()
        if not made_folder and any(self.directory.iterdir()):
            raise DevclusterError(f"{self.directory} is not empty and holds no devcluster: name another folder")
        build()
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / ".made").touch() if made_folder else None
        try:
            self._first_start()
        except BaseException:
            self.down()
            raise

    def _first_start(self) -> None:
        for left in reversed(range(TRIES)):
            settings = Settings(
                etcd_port=free_port(),
                etcd_peer_port=free_port(),
                apiserver_port=free_port(),
                postgres_port=free_port(),
                token=new_token(),
                password=new_password(),
                fsync=self._fsync,
            )
            try:
                for part in PARTS:
                    self._start(part, settings)
            except DevclusterError as error:
                if not left or "address already in use" not in str(error).lower():
                    raise
                self._kill_all()
            else:
                break
        self._state.touch(mode=0o600)
        self._state.write_text(json.dumps(asdict(settings)))
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(self._apiserver(settings).kubeconfig())
        environment = self.directory / "env"
        environment.touch(mode=0o600)
        environment.write_text(f"KUBECONFIG={self.kubeconfig}\nDATABASE_URL={self._postgres(settings).url}\n")

    def down(self) -> None:
        """Kill all parts and remove all that they wrote."""
        if not self.directory.exists():
            return
        self._kill_all()
        made_folder = (self.directory / ".made").exists()
        for name in [*PARTS, "certificates", "logs"]:
            shutil.rmtree(self.directory / name, ignore_errors=True)
        for name in [*(f"{part}.pid" for part in PARTS), "cluster.json", "kubeconfig", "env", "tokens.csv", ".made"]:
            (self.directory / name).unlink(missing_ok=True)
        if made_folder and not any(self.directory.iterdir()):
            self.directory.rmdir()

    def stop(self, part: str) -> None:
        """SIGKILL one part, `etcd`, `apiserver` or `postgres`; returns when it is gone."""
        self._settings()
        Program(self.directory, _known(part)).kill()

    def start(self, part: str) -> None:
        """Start one part again, with the same data on the same port; returns when it answers."""
        self._start(_known(part), self._settings())

    def _start(self, part: str, settings: Settings) -> None:
        if Program(self.directory, part).pid is not None:
            return
        starts: dict[str, Callable[[], None]] = {
            "etcd": self._etcd(settings).start,
            "apiserver": self._apiserver(settings).start,
            "postgres": self._postgres(settings).start,
        }
        starts[part]()

    def _kill_all(self) -> None:
        for part in reversed(PARTS):
            Program(self.directory, part).kill()

    def _etcd(self, settings: Settings) -> Etcd:
        return Etcd(
            build()["etcd"],
            self.directory,
            port=settings.etcd_port,
            peer_port=settings.etcd_peer_port,
            fsync=settings.fsync,
        )

    def _apiserver(self, settings: Settings) -> ApiServer:
        return ApiServer(
            build()["kube-apiserver"],
            self.directory,
            port=settings.apiserver_port,
            token=settings.token,
            etcd=self._etcd(settings),
        )

    def _postgres(self, settings: Settings) -> Postgres:
        return Postgres(self.directory, port=settings.postgres_port, password=settings.password, fsync=settings.fsync)

    def _settings(self) -> Settings:
        try:
            return Settings(**json.loads(self._state.read_text()))
        except OSError as error:
            raise DevclusterError(f"there is no devcluster in {self.directory}: bring it up first") from error


def _known(part: str) -> str:
    if part not in PARTS:
        raise DevclusterError(f"there is no part {part!r}: name one of {', '.join(PARTS)}")
    return part
