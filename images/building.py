"""Builds the images once and caches them as docker-archives in the cache of the user."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from devcluster.files import build_lock, user_cache
from images.base import make_base
from images.buildah import Buildah
from images.commands import ISOLATED, ImagesError, output_of, run
from images.content import Content
from images.sbom import write_sbom
from images.sources import build_arguments, debian_mirror

OPERATOR: Final = "projectsetup.local/operator:dev"
TOOLCHAIN: Final = "projectsetup.local/toolchain:dev"
TOOLCHAIN_NODE: Final = "projectsetup.local/toolchain-node:dev"
TOOLCHAIN_GO: Final = "projectsetup.local/toolchain-go:dev"
TOOLCHAIN_OFFLINE: Final = "projectsetup.local/toolchain-offline:dev"
"""The toolchain with the dependencies of generated services, for nodes without access to a package index."""
IMAGES: Final = (OPERATOR, TOOLCHAIN, TOOLCHAIN_NODE, TOOLCHAIN_GO, TOOLCHAIN_OFFLINE)
_FROM_TOOLCHAIN: Final = {TOOLCHAIN_NODE: "toolchain-node", TOOLCHAIN_GO: "toolchain-go"}

_HERE: Final = Content(Path(__file__).parents[1])
_BASE: Final = "projectsetup.local/base:dev"
_DEPENDENCIES: Final = "projectsetup.local/dependencies:dev"
_PROGRAMS: Final = ("buildah", "debootstrap")
_GENERATIONS: Final = 3
_TRY_OVERLAY: Final = """\
cd "$1"
mkdir lower upper work merged
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged
"""


def cache_folder() -> Path:
    """The folder of the images, below XDG_CACHE_HOME or ~/.cache."""
    return user_cache("projectsetup-images")


def find_images() -> dict[str, Path]:
    """The images that exist for the current sources: names and docker-archives."""
    return _found(_HERE)


def images_obstacle(names: Collection[str] = IMAGES) -> str | None:
    """Why these images cannot be built here; None if they can be, or exist."""
    if find_images().keys() >= {*names}:
        return None
    if os.geteuid() != 0:
        return "building images needs root"
    programs = _missing_programs()
    if programs and shutil.which("apt-get") is None:
        return f"building images needs {' and '.join(programs)}, but apt-get is not available to install them"
    try:
        debian_mirror()
        _try_overlay()
    except ImagesError as error:
        return f"images cannot be built here: {error}"
    return None


def build(names: Collection[str] = IMAGES) -> dict[str, Path]:
    """These images; builds those that are missing, with progress on standard output. Concurrent calls build once.

    Raises ImagesError.
    """
    found = find_images()
    if not found.keys() >= {*names}:
        if obstacle := images_obstacle(names):
            raise ImagesError(obstacle)
        with build_lock(cache_folder(), prefix="images"), _folder_for_one_build() as folder:
            found = _build(names, folder)
            _remove_old_archives()
    return {name: found[name] for name in names}


def _build(names: Collection[str], folder: Path) -> dict[str, Path]:
    """Build the missing images from a copy of the sources, so that concurrent edits do no harm."""
    content = _HERE.copy(folder / "content")
    missing = {*names} - _found(content).keys()
    if missing:
        _install_programs()
        buildah = Buildah(_storage(content), folder / "run")
        buildah.remove_unfinished()
        if not buildah.has(_BASE):
            make_base(content.release(), folder / "base", cache_folder() / "debootstrap.log")
            buildah.make(_BASE, folder / "base")
        _build_images(buildah, missing, content, build_arguments(folder, content.release()))
        buildah.remove_untagged()
    return _found(content)


def _build_images(buildah: Buildah, names: Collection[str], content: Content, options: Sequence[str]) -> None:
    def build(name: str, target: str) -> None:
        arguments = {"BASE": _BASE, "VERSION": content.version()}
        buildah.build(name, content.dockerfile, content.root, target=target, arguments=arguments, options=options)

    build(_DEPENDENCIES, "dependencies")
    if OPERATOR in names:
        build(OPERATOR, "operator")
    if {*names} - {OPERATOR}:
        build(TOOLCHAIN, "toolchain")
    for name, target in _FROM_TOOLCHAIN.items():
        if name in names:
            build(name, target)
    if TOOLCHAIN_OFFLINE in names:
        arguments = {"DEPENDENCIES": _DEPENDENCIES, "TOOLCHAIN": TOOLCHAIN}
        buildah.build(TOOLCHAIN_OFFLINE, content.offline_dockerfile, content.root, arguments=arguments, options=options)
    for name, archive in _archives(content).items():
        if name in names:
            archive.parent.mkdir(parents=True, exist_ok=True)
            buildah.write(name, archive)
            write_sbom(name, archive, content.lock.read_text(), sbom_path(archive))


def sbom_path(archive: Path) -> Path:
    """The path of the bill of materials of an image."""
    return archive.with_suffix(".spdx.json")


def _found(content: Content) -> dict[str, Path]:
    archives = _archives(content)
    return {name: archive for name, archive in archives.items() if archive.is_file() and sbom_path(archive).is_file()}


def _archives(content: Content) -> dict[str, Path]:
    folder = cache_folder() / "archives" / content.key()
    return {name: folder / f"{name.partition('/')[2].partition(':')[0]}.tar" for name in IMAGES}


def _try_overlay() -> None:
    """Raises ImagesError if overlay mounts do not work, as in most containers."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cache_folder(), prefix="overlay-") as folder:
        output_of(*ISOLATED, "sh", "-euc", _TRY_OVERLAY, "sh", folder)


def _storage(content: Content) -> Path:
    """The storage of buildah; removes that of other base images."""
    storage = cache_folder() / "storage"
    wanted = storage / content.base_key()
    wanted.mkdir(parents=True, exist_ok=True)
    for folder in storage.iterdir():
        if folder != wanted:
            shutil.rmtree(folder)
    return wanted


def _remove_old_archives() -> None:
    """Keep the newest archives, and older ones that may still be in use."""
    generations = sorted((cache_folder() / "archives").iterdir(), key=lambda folder: folder.stat().st_mtime)
    for folder in generations[:-_GENERATIONS]:
        shutil.rmtree(folder)


def _missing_programs() -> list[str]:
    return [name for name in _PROGRAMS if shutil.which(name) is None]


def _install_programs() -> None:
    missing = _missing_programs()
    if not missing:
        return
    log = cache_folder() / "apt-get.log"
    noninteractive = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update"], "updating the package lists", log, noninteractive, wait_if_interrupted=True)
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    run(command, f"installing {' and '.join(missing)}", log, noninteractive, wait_if_interrupted=True)


@contextmanager
def _folder_for_one_build() -> Iterator[Path]:
    """A private folder; the leftovers of a killed build are removed first."""
    folder = cache_folder() / "unfinished"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
