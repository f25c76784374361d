"""Run a local cluster in one folder: etcd, kube-apiserver, PostgreSQL, and optionally a real node."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from devcluster.build import build
from devcluster.cluster import PARTS, Cluster
from devcluster.command_line import FAILED, INTERRUPTED, Parser, interrupt
from devcluster.errors import DevclusterError
from devcluster.node.node import NODE_PARTS


def main(arguments: list[str] | None = None) -> int:
    """Run one command; exit codes: 0 done, 2 bad usage, 3 failed, 128 + n after signal n."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        _run(options)
    except (DevclusterError, OSError) as error:
        print(f"devcluster: {_one_line(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED + signal.SIGINT
    return 0


def _run(options: argparse.Namespace) -> None:
    if options.command == "build":
        for name, path in sorted(build(node=options.node).items()):
            print(f"devcluster: {name}: {path}")
        return
    choices = {name: getattr(options, name, False) for name in ("fsync", "node")}
    cluster = Cluster(options.dir, **choices)
    if options.command == "up":
        state = "ready" if cluster.up() else "already running"
        print(f"devcluster: {state}; to use it: set -a && . {cluster.directory / 'env'}")
    elif options.command == "down":
        cluster.down()
    elif options.command == "stop":
        cluster.stop(options.part)
    else:
        cluster.start(options.part)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m devcluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    node = Parser(add_help=False)
    node.add_argument("--node", action="store_true", help="include a real node that runs pods (Linux, needs root)")
    folder = Parser(add_help=False)
    folder.add_argument("--dir", required=True, type=Path, metavar="D", help="folder of the cluster, empty or new")
    parts = (*PARTS, *NODE_PARTS)
    part = Parser(add_help=False)
    part.add_argument("part", choices=parts, metavar="PART", help=", ".join(parts))

    commands.add_parser("build", parents=[node], help="build the programs that are missing")
    up = commands.add_parser("up", parents=[folder, node], help="start the cluster and wait until it is ready")
    up.add_argument("--fsync", action="store_true", help="survive power failures, at the cost of speed")
    commands.add_parser("down", parents=[folder], help="stop the cluster and delete its data")
    commands.add_parser("stop", parents=[folder, part], help="kill one part with SIGKILL")
    commands.add_parser("start", parents=[folder, part], help="restart one part with its data")
    return parser


def _one_line(error: DevclusterError | OSError) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
