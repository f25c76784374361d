"""The state file of a cluster."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from devcluster.control_plane import new_token
from devcluster.errors import DevclusterError
from devcluster.files import write_private
from devcluster.node.node import NodeState
from devcluster.ports import free_port
from devcluster.postgres import new_password


@dataclass(frozen=True, slots=True)
class State:
    """Ports, secrets and options, which stay the same across restarts."""

    etcd_port: int
    etcd_peer_port: int
    apiserver_port: int
    postgres_port: int
    token: str
    password: str
    fsync: bool
    made_folder: bool
    node: NodeState | None = None

    @classmethod
    def new(cls, *, fsync: bool, made_folder: bool, node: bool = False) -> State:
        """Free ports and new secrets; with `node`, also a free network, which the caller must create at once."""
        return cls(
            etcd_port=free_port(),
            etcd_peer_port=free_port(),
            apiserver_port=free_port(),
            postgres_port=free_port(),
            token=new_token(),
            password=new_password(),
            fsync=fsync,
            made_folder=made_folder,
            node=NodeState.new() if node else None,
        )

    @classmethod
    def read(cls, path: Path) -> State:
        """Read a state file; DevclusterError if there is none, or another version wrote it."""
        try:
            fields = json.loads(path.read_text())
            node = fields.pop("node", None)
            return cls(**fields, node=None if node is None else NodeState(**node))
        except OSError as error:
            raise DevclusterError(f"no devcluster in {path.parent}: run `up` first") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise DevclusterError(f"{path} was written by another version: remove the cluster by hand") from error

    def write(self, path: Path) -> None:
        """Write it, readable only by its owner."""
        write_private(path, json.dumps(asdict(self)))
