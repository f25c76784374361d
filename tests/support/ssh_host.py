"""A git host behind a real sshd from Debian's package, for the user who runs the tests."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devcluster.ports import free_port
from projectsetup.setup.git import KEY_FILE, KNOWN_HOSTS_FILE
from tests.support.debian_program import DebianProgram
from tests.support.operator_process import wait_for

SSHD: Final = DebianProgram("openssh-server", "usr/sbin/sshd", "lib(wrap0|nsl2)")
_ADDRESS: Final = "127.0.0.1"
_END_LIMIT: Final = 10.0
_AS_ROOT: Final = """\
mount --bind "$1" /etc/passwd
mount -t tmpfs tmpfs /run
mkdir /run/sshd
shift
exec "$@"
"""
"""As root, sshd needs its own user and folder; only sshd sees these mounts."""


@dataclass(frozen=True, slots=True)
class SshHost:
    """`folder` holds the key that may log in."""

    folder: Path
    port: int

    def url(self, repository: Path) -> str:
        """The URL of a repository on this machine."""
        return f"ssh://{getpass.getuser()}@{_ADDRESS}:{self.port}{repository}"

    def private(self, place: Path, *, key: bytes | None = None, known_hosts: str | None = None) -> Path:
        """A new directory with the private files of a step; `key` and `known_hosts` replace the valid ones."""
        place.mkdir()
        (place / KEY_FILE).write_bytes((self.folder / "key").read_bytes() if key is None else key)
        (place / KEY_FILE).chmod(0o600)
        line = self.known_as(self.folder / "host-key.pub")
        (place / KNOWN_HOSTS_FILE).write_text(line if known_hosts is None else known_hosts)
        return place

    def known_as(self, public_key: Path) -> str:
        """A line of known_hosts."""
        return f"[{_ADDRESS}]:{self.port} {public_key.read_text()}"


def new_key(path: Path) -> None:
    """Create a key without a passphrase, and its public half in a file `.pub` beside it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@contextmanager
def ssh_host(folder: Path) -> Iterator[SshHost]:
    """Serve until the end of the block."""
    program, host = SSHD.fetch(), SshHost(folder, free_port())
    for name in ("key", "host-key"):
        new_key(folder / name)
    settings = {
        "Port": host.port,
        "ListenAddress": _ADDRESS,
        "HostKey": folder / "host-key",
        "AuthorizedKeysFile": folder / "key.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    (folder / "passwd").write_text(
        f"{Path('/etc/passwd').read_text()}sshd:x:100999:65534::/run/sshd:/usr/sbin/nologin\n"
    )
    log = folder / "sshd.log"
    command = [str(program), "-D", "-f", str(folder / "sshd_config"), "-E", str(log)]
    if os.geteuid() == 0:
        command = ["unshare", "--mount", "sh", "-euc", _AS_ROOT, "sh", str(folder / "passwd"), *command]
    with subprocess.Popen(command, env={**os.environ, **SSHD.environment()}) as process:
        try:
            wait_for(lambda: log.exists() and "Server listening" in log.read_text(), "sshd to listen")
            yield host
        finally:
            process.terminate()
            process.wait(_END_LIMIT)
