"""The attacker may write the URL of a project's repository, and wants git to connect to another host than is checked.

`PROJECTSETUP_GIT_HOSTS` lists only `good.example`. Git would connect to the target that it passes to ssh or to a proxy.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from projectsetup.git_hosts import GitHost, GitHosts, host_of
from projectsetup.projects.errors import InvalidProject
from projectsetup.projects.validation import check_repository_url

GOOD: Final = "good.example"
EVIL: Final = "169.254.169.254"
SSH: Final = """\
#!/bin/sh
port=22
[ "$1" != -o ] || shift 2
[ "$1" != -p ] || { port=$2; shift 2; }
echo "${1##*@} $port" >> "$ASKED"
exit 255
"""
ATTACKS: Final = [
    f"ssh://{GOOD}/app@[{EVIL}]/app.git",
    f"ssh://git@{GOOD}/app@[{EVIL}]:80/app.git",
    f"ssh://git@{GOOD}:22/app%40%5B{EVIL}%5D:80/app.git",
    f"ssh://git@{GOOD}/app%40[{EVIL}]/app.git",
    f"ssh://{GOOD}/?@[{EVIL}]/app.git",
    f"ssh://{GOOD}/#@[{EVIL}]/app.git",
    f"git@{GOOD}:@[{EVIL}]:app.git",
    f"git@{GOOD}:app/@[{EVIL}]:app.git",
    f"git@{GOOD}:app@[{EVIL}:80]:app.git",
    f"git@{GOOD}:app@{EVIL}:app.git",
    f"git@{GOOD}:[{EVIL}]:app.git",
    f"git@{GOOD}:22:@{EVIL}/app.git",
    f"ssh://{GOOD}/@{EVIL}/app.git",
    f"ssh://{GOOD}/[{EVIL}]:80/app.git",
    f"ssh://{GOOD}/%2e%2e/@{EVIL}:80/app.git",
    f"https://{GOOD}/app@[{EVIL}]/app.git",
    f"https://{GOOD}/%40{EVIL}/app.git",
    f"https://{GOOD}/\\@{EVIL}/app.git",
    f"https://{GOOD}:443/@{EVIL}:80/app.git",
    f"https://{GOOD}:443@{EVIL}/app.git",
    f"https://{GOOD}\\@{EVIL}/app.git",
    f"https://{GOOD}%2f@{EVIL}/app.git",
    f"https://{GOOD}?@{EVIL}/app.git",
    f"https://{GOOD}#@{EVIL}/app.git",
    f"https://{GOOD}.@{EVIL}/app.git",
]


@dataclass
class Network:
    """A proxy and an ssh that refuse every connection and record its target."""

    folder: Path
    proxy: socket.socket
    connected: list[GitHost] = field(default_factory=list)

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.proxy.accept()
            except OSError:
                return
            with client:
                host, _, port = client.recv(4096).split()[1].decode().rpartition(":")
                self.connected.append(GitHost(host, int(port)))
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    def asked_by(self, url: str) -> list[GitHost]:
        """Return the hosts that git connects to for this URL."""
        self.connected.clear()
        asked = self.folder / "asked"
        asked.unlink(missing_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "ASKED": str(asked),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": "https:ssh",
            "GIT_SSH_COMMAND": str(self.folder / "ssh"),
            "GIT_SSH_VARIANT": "ssh",
            "GIT_TERMINAL_PROMPT": "0",
            "https_proxy": f"http://127.0.0.1:{self.proxy.getsockname()[1]}",
        }
        command = ["git", "ls-remote", "--", url]
        subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, timeout=30, check=False)
        by_ssh = (line.split() for line in asked.read_text().splitlines()) if asked.exists() else ()
        return [*self.connected, *(GitHost(host, int(port)) for host, port in by_ssh)]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("network")
    ssh = folder / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o700)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        network = Network(folder, proxy)
        threading.Thread(target=network.serve, daemon=True).start()
        yield network
        proxy.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("url", ATTACKS)
def test_git_connects_only_to_the_checked_host(network: Network, url: str) -> None:
    try:
        check_repository_url(url, allow_file=False, hosts=GitHosts.parse(GOOD))
    except InvalidProject:
        return
    assert network.asked_by(url) in ([], [host_of(url)])


@pytest.mark.parametrize("url", [f"ssh://git@{GOOD}:2222/app.git", f"git@{GOOD}:app.git", f"https://{GOOD}:8443/app"])
def test_the_network_records_where_git_connects(network: Network, url: str) -> None:
    assert network.asked_by(url) == [host_of(url)]


def test_a_host_in_the_path_is_what_git_connects_to(network: Network) -> None:
    assert network.asked_by(ATTACKS[1]) == [GitHost(EVIL, 80)], "git has changed: the attack proves nothing"
