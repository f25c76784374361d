"""`python -m devcluster build|up|down|stop|start`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final, NoReturn

from devcluster.build import build
from devcluster.cluster import PARTS, Cluster
from devcluster.errors import DevclusterError

BAD_USAGE: Final = 2
FAILED: Final = 3


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(BAD_USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 2 bad usage, 3 failed."""
    options = _parser().parse_args(arguments)
    if getattr(options, "node", False):
        print("devcluster: --node: real nodes are not part of this version", file=sys.stderr)
        return BAD_USAGE
    try:
        return _run(options)
    except (DevclusterError, OSError) as error:
        print(f"devcluster: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    if options.command == "build":
        for name, path in sorted(build().items()):
            print(f"devcluster: {name}: {path}")
        return 0
    cluster = Cluster(options.dir, fsync=getattr(options, "fsync", False))
    if options.command == "up":
        cluster.up()
        print(f"devcluster: ready; its environment is in {cluster.directory / 'env'}")
    elif options.command == "down":
        cluster.down()
    elif options.command == "stop":
        cluster.stop(options.part)
    else:
        cluster.start(options.part)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m devcluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    node = {"action": "store_true", "help": "with a real node (not part of this version)"}
    command = commands.add_parser("build", help="build what is missing, once")
    command.add_argument("--node", **node)  # type: ignore[arg-type]  # argparse types keywords one by one
    for name, text in {
        "up": "bring up etcd, kube-apiserver and PostgreSQL; returns when all answer",
        "down": "kill them and remove what they wrote",
        "stop": "SIGKILL one part",
        "start": "start one part again, with its data",
    }.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--dir", required=True, type=Path, help="the folder of the cluster")
        if name == "up":
            command.add_argument("--node", **node)  # type: ignore[arg-type]  # as above
            command.add_argument("--fsync", action="store_true", help="lose nothing when a part is killed (slower)")
        if name in {"stop", "start"}:
            command.add_argument("part", choices=PARTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
