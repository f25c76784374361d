"""buildah with a storage of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from images.commands import ALONE, ask, run


class Buildah:
    """Images in `folder`; mounts are accounted for in `run`, which lasts as long as one build."""

    def __init__(self, folder: Path, run: Path) -> None:
        self._log = folder / "buildah.log"
        storage = [f"--root={folder / 'storage'}", f"--runroot={run}", "--storage-driver=overlay"]
        self._command = [*ALONE, "buildah", *storage]

    def forget_unfinished(self) -> None:
        """Remove what a build that was killed has left."""
        self._ask("rm", "--all")

    def forget_untagged(self) -> None:
        """Remove the images that nothing tagged begins with."""
        self._ask("rmi", "--prune")

    def has(self, name: str) -> bool:
        """Is there an image of this name?"""
        return self._ask("images", "--quiet", "--no-trunc", "--filter", f"reference={name}").strip() != ""

    def make(self, name: str, files: Path) -> None:
        """An image of one layer."""
        container = self._ask("from", "scratch").strip()
        self._ask("add", "--quiet", container, str(files), "/")
        self._ask("config", "--cmd=sh", container)
        self._ask("commit", "--quiet", "--rm", "--identity-label=false", container, name)

    def build(
        self,
        name: str,
        dockerfile: Path,
        context: Path,
        *,
        target: str | None = None,
        arguments: Mapping[str, str],
        lent: Sequence[str],
    ) -> None:
        """Build an image, layer by layer, from those that are there already; `lent` are more arguments."""
        command = [
            *(*self._command, "build", "--isolation=chroot", "--layers", "--pull=never", "--identity-label=false"),
            *(f"--build-arg={key}={value}" for key, value in arguments.items()),
            *lent,
            *((f"--target={target}",) if target else ()),
            *(f"--tag={name}", f"--file={dockerfile}", str(context)),
        ]
        run(command, f"building {name}", self._log)

    def write(self, name: str, tar: Path) -> None:
        """Write an image to a docker-archive that is not compressed."""
        unfinished = tar.with_name(f".{tar.name}.new")
        unfinished.unlink(missing_ok=True)
        run(
            [*self._command, "push", "--quiet", name, f"docker-archive:{unfinished}:{name}"],
            f"writing {tar}",
            self._log,
        )
        unfinished.replace(tar)

    def _ask(self, *arguments: str) -> str:
        return ask(*self._command, *arguments, limit=600.0)
