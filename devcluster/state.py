"""What a cluster keeps in its folder so that later commands find it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from devcluster.apiserver import new_token
from devcluster.errors import DevclusterError
from devcluster.node.state import NodeState
from devcluster.ports import free_port
from devcluster.postgres import new_password
from devcluster.private import write_private


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
    node: NodeState | None = None

    @classmethod
    def new(cls, *, fsync: bool, made_folder: bool, node: bool = False) -> State:
        """Free ports and fresh secrets; with a node, also a free network that is to be made at once."""
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
        """Raises DevclusterError where there is none, or one of another version."""
        try:
            fields = json.loads(path.read_text())
            node = fields.pop("node", None)
            return cls(**fields, node=None if node is None else NodeState(**node))
        except OSError as error:
            raise DevclusterError(f"there is no devcluster in {path.parent}: bring it up first") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise DevclusterError(f"another version wrote {path}: end its programs and remove the folder") from error

    def write(self, path: Path) -> None:
        """Keep it, readable by its owner only."""
        write_private(path, json.dumps(asdict(self)))
