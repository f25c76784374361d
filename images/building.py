"""Builds the images once and keeps them, as archives that containerd imports, below the user's cache folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from devcluster.cache import only_one_build, user_cache
from images import debian
from images.base import make_base
from images.buildah import Buildah
from images.commands import ALONE, ask, run
from images.content import Content
from images.errors import ImagesError
from images.machine import lent
from images.sbom import write_sbom

OPERATOR: Final = "projectsetup.local/operator:dev"
TOOLCHAIN: Final = "projectsetup.local/toolchain:dev"
TOOLCHAIN_OFFLINE: Final = "projectsetup.local/toolchain-offline:dev"
"""The toolchain for nodes that reach no package index: it holds the dependencies of the generated services."""
IMAGES: Final = (OPERATOR, TOOLCHAIN, TOOLCHAIN_OFFLINE)

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
    """Where images are kept: below XDG_CACHE_HOME, or ~/.cache."""
    return user_cache("projectsetup-images")


def find_images() -> dict[str, Path]:
    """The images of this content that are there already: their names, and archives that `ctr images import` takes."""
    return _found(_HERE)


def images_obstacle(names: Collection[str] = IMAGES) -> str | None:
    """Why these images are not there and cannot be built here; None when they can be had."""
    if find_images().keys() >= {*names}:
        return None
    if os.geteuid() != 0:
        return "building images needs root"
    programs = _missing_programs()
    if programs and shutil.which("apt-get") is None:
        return f"building images needs {' and '.join(programs)}, and there is no apt-get to install them with"
    try:
        debian.mirror()
        _try_overlay()
    except ImagesError as error:
        return f"building images does not work here: {error}"
    return None


def build(names: Collection[str] = IMAGES) -> dict[str, Path]:
    """These images; what is missing is built, with progress on standard output. Two at once build once.

    Raises ImagesError.
    """
    found = find_images()
    if not found.keys() >= {*names}:
        if obstacle := images_obstacle(names):
            raise ImagesError(obstacle)
        with only_one_build(cache_folder(), teller="images"), _folder_for_one_build() as folder:
            found = _build(names, folder)
            _forget_old_archives()
    return {name: found[name] for name in names}


def _build(names: Collection[str], folder: Path) -> dict[str, Path]:
    """Build what is missing of a copy of the sources: whoever changes them meanwhile does not disturb."""
    content = _HERE.copy(folder / "content")
    missing = {*names} - _found(content).keys()
    if missing:
        _install_programs()
        buildah = Buildah(_storage(content), folder / "run")
        buildah.forget_unfinished()
        if not buildah.has(_BASE):
            make_base(content.release(), folder / "base", cache_folder() / "debootstrap.log")
            buildah.make(_BASE, folder / "base")
        _build_images(buildah, missing, content, lent(folder, content.release()))
        buildah.forget_untagged()
    return _found(content)


def _build_images(buildah: Buildah, names: Collection[str], content: Content, lent: Sequence[str]) -> None:
    def build(name: str, target: str) -> None:
        arguments = {"BASE": _BASE, "VERSION": content.version()}
        buildah.build(name, content.dockerfile, content.root, target=target, arguments=arguments, lent=lent)

    build(_DEPENDENCIES, "dependencies")
    if OPERATOR in names:
        build(OPERATOR, "operator")
    if TOOLCHAIN in names or TOOLCHAIN_OFFLINE in names:
        build(TOOLCHAIN, "toolchain")
    if TOOLCHAIN_OFFLINE in names:
        arguments = {"DEPENDENCIES": _DEPENDENCIES, "TOOLCHAIN": TOOLCHAIN}
        buildah.build(TOOLCHAIN_OFFLINE, content.offline_dockerfile, content.root, arguments=arguments, lent=lent)
    for name, archive in _archives(content).items():
        if name in names:
            archive.parent.mkdir(parents=True, exist_ok=True)
            buildah.write(name, archive)
            write_sbom(name, archive, content.lock.read_text(), sbom_of(archive))


def sbom_of(archive: Path) -> Path:
    """Where the bill of materials of an image is."""
    return archive.with_suffix(".spdx.json")


def _found(content: Content) -> dict[str, Path]:
    archives = _archives(content)
    return {name: archive for name, archive in archives.items() if archive.is_file() and sbom_of(archive).is_file()}


def _archives(content: Content) -> dict[str, Path]:
    folder = cache_folder() / "archives" / content.key()
    return {name: folder / f"{name.partition('/')[2].partition(':')[0]}.tar" for name in IMAGES}


def _try_overlay() -> None:
    """Raises ImagesError where layers cannot be laid over each other, as in most containers."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cache_folder(), prefix="overlay-") as folder:
        ask(*ALONE, "sh", "-euc", _TRY_OVERLAY, "sh", folder)


def _storage(content: Content) -> Path:
    """What buildah keeps; for another base image nothing of it counts, so it is made anew."""
    storage = cache_folder() / "storage"
    wanted = storage / content.base_key()
    wanted.mkdir(parents=True, exist_ok=True)
    for folder in storage.iterdir():
        if folder != wanted:
            shutil.rmtree(folder)
    return wanted


def _forget_old_archives() -> None:
    """Keep the newest, and those before for whoever still uses them."""
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
    quietly = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update"], "reading Debian's lists of packages", log, quietly, to_its_end=True)
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    run(command, f"installing {' and '.join(missing)}", log, quietly, to_its_end=True)


@contextmanager
def _folder_for_one_build() -> Iterator[Path]:
    """A private folder; what a build that was killed has left of it is removed first."""
    folder = cache_folder() / "unfinished"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
