"""buildah with its own storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from images.commands import ISOLATED, output_of, run


class Buildah:
    """Runs buildah with images in `folder` and temporary state in `run`, which lasts for one build."""

    def __init__(self, folder: Path, run: Path) -> None:
        self._log = folder / "buildah.log"
        storage = [f"--root={folder / 'storage'}", f"--runroot={run}", "--storage-driver=overlay"]
        self._command = [*ISOLATED, "buildah", *storage]

    def remove_unfinished(self) -> None:
        """Remove the containers of killed builds."""
        self._ask("rm", "--all")

    def remove_untagged(self) -> None:
        """Remove images that no tagged image is based on."""
        self._ask("rmi", "--prune")

    def has(self, name: str) -> bool:
        """Whether an image of this name exists."""
        return self._ask("images", "--quiet", "--no-trunc", "--filter", f"reference={name}").strip() != ""

    def make(self, name: str, files: Path) -> None:
        """Create an image of one layer."""
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
        options: Sequence[str],
    ) -> None:
        """Build an image without pulling any; `options` are further arguments of `buildah build`."""
        command = [
            *(*self._command, "build", "--isolation=chroot", "--layers", "--pull=never", "--identity-label=false"),
            *(f"--build-arg={key}={value}" for key, value in arguments.items()),
            *options,
            *((f"--target={target}",) if target else ()),
            *(f"--tag={name}", f"--file={dockerfile}", str(context)),
        ]
        run(command, f"building {name}", self._log)

    def write(self, name: str, tar: Path) -> None:
        """Write an image to an uncompressed docker-archive."""
        unfinished = tar.with_name(f".{tar.name}.new")
        unfinished.unlink(missing_ok=True)
        run(
            [*self._command, "push", "--quiet", name, f"docker-archive:{unfinished}:{name}"],
            f"writing {tar}",
            self._log,
        )
        unfinished.replace(tar)

    def _ask(self, *arguments: str) -> str:
        return output_of(*self._command, *arguments, limit=600.0)
