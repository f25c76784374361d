"""Git repositories of resources that Argo CD and Flux read over HTTP, and to which tests commit."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Final

from tests.support.git_host import GitHandler

BRANCH: Final = "main"
_IDENTITY: Final = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")


@dataclass(frozen=True, slots=True)
class ConfigRepository:
    """The working copy of a repository, and the URL of what is committed there."""

    folder: Path
    url: str

    def commit(self, files: Mapping[str, str | None]) -> str:
        """Write these files, remove those that are None, and commit; the new commit."""
        for name, text in files.items():
            path = self.folder / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return self.commit_all()

    def commit_all(self) -> str:
        """Commit the working copy; the new commit."""
        self.git("add", "--all")
        self.git(*_IDENTITY, "commit", "--quiet", "--allow-empty", "--message=Change")
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        """The output of a git command in the working copy."""
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class ConfigHost:
    """Serves the repositories below its folder, without a password."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port

    def repository(self, name: str) -> ConfigRepository:
        """A new repository without commits."""
        made = ConfigRepository(self._folder / name, f"http://127.0.0.1:{self._port}/{name}/.git")
        subprocess.run(["git", "init", "--quiet", f"--initial-branch={BRANCH}", str(made.folder)], check=True)
        return made


@contextmanager
def config_host(folder: Path) -> Iterator[ConfigHost]:
    """Serve until the end of the block."""
    handler = type("Handler", (GitHandler,), {"folder": folder, "expected": None})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield ConfigHost(folder, server.server_port)
        server.shutdown()
