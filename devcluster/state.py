"""What a cluster keeps in its folder so that later commands find it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from devcluster.apiserver import new_token
from devcluster.errors import DevclusterError
from devcluster.ports import free_port
from devcluster.postgres import new_password


@dataclass(frozen=True, slots=True)
class State:
    """Ports, secrets and choices: they stay the same when a part is started again."""

    etcd_port: int
    etcd_peer_port: int
    apiserver_port: int
    postgres_port: int
    token: str
    password: str
    fsync: bool
    made_folder: bool

    @classmethod
    def new(cls, *, fsync: bool, made_folder: bool) -> State:
        """Free ports and fresh secrets."""
        return cls(
            etcd_port=free_port(),
            etcd_peer_port=free_port(),
            apiserver_port=free_port(),
            postgres_port=free_port(),
            token=new_token(),
            password=new_password(),
            fsync=fsync,
            made_folder=made_folder,
        )

    @classmethod
    def read(cls, path: Path) -> State:
        """Raises DevclusterError where there is none, or one of another version."""
        try:
            return cls(**json.loads(path.read_text()))
        except OSError as error:
            raise DevclusterError(f"there is no devcluster in {path.parent}: bring it up first") from error
        except (ValueError, TypeError) as error:
            raise DevclusterError(f"another version wrote {path}: end its programs and remove the folder") from error

    def write(self, path: Path) -> None:
        """Keep it, readable by its owner only."""
        write_private(path, json.dumps(asdict(self)))


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else may read; whoever reads it meanwhile sees the old text or the new."""
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.replace(path)
