"""The files of a release, and the checks before they are built.

Packages, manifests and charts are reproducible: the same commit gives the same bytes. Images are not: they install
current Debian packages, whose versions stand in their bills of materials.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final

import yaml

from devcluster.build import build as build_programs
from images import OPERATOR, TOOLCHAIN, TOOLCHAIN_GO, TOOLCHAIN_NODE
from images import build as build_images
from images.sbom import write_sbom

IMAGES: Final = {
    OPERATOR: "projectsetup",
    TOOLCHAIN: "projectsetup-toolchain",
    TOOLCHAIN_NODE: "projectsetup-toolchain-node",
    TOOLCHAIN_GO: "projectsetup-toolchain-go",
}
REGISTRY: Final = "codemyspec"
LOCK: Final = "requirements-runtime.lock"
CHECKSUMS: Final = "SHA256SUMS"
INSTALL: Final = "install.yaml"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


class ReleaseError(Exception):
    """The release cannot be built; the text is one clear line."""


def build_release(root: Path, version: str) -> list[Path]:
    """Build the release of the commit that is checked out at `root` into dist/, which is emptied first; its files.

    Raises ReleaseError, ImagesError or DevclusterError.
    """
    check(root, version)
    epoch = int(_git(root, "log", "-1", "--format=%ct"))
    dist = root / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir()
    build_packages(root, dist, epoch)
    render_manifests(root, dist, version, build_programs()["kubectl"])
    package_charts(root / "charts", dist, version, epoch)
    for image, archive in build_images(tuple(IMAGES)).items():
        export_image(archive, dist, f"{REGISTRY}/{IMAGES[image]}:{version}", (root / LOCK).read_text())
    write_checksums(dist)
    return sorted(dist.iterdir())


def check(root: Path, version: str) -> None:
    """Raise ReleaseError for uncommitted changes, and for a version without a section in CHANGELOG.md."""
    if _git(root, "status", "--porcelain"):
        raise ReleaseError("the working tree has uncommitted changes: commit or remove them first")
    if not re.search(rf"^## {re.escape(version)}( |$)", (root / "CHANGELOG.md").read_text(), re.MULTILINE):
        raise ReleaseError(f"CHANGELOG.md has no section '## {version}': add it, or correct projectsetup/version.py")


def build_packages(root: Path, dist: Path, epoch: int) -> None:
    """The sdist and the wheel."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
    _run([sys.executable, "-m", "hatchling", "build", "--directory", str(dist)], root, environment)


def render_manifests(root: Path, dist: Path, version: str, kubectl: Path) -> None:
    """The CRD, and each kustomization below manifests/ that can be applied as it is, rendered; base is install.yaml."""
    shutil.copyfile(root / "crds" / "projectsetups.yaml", dist / f"projectsetup-crd-{version}.yaml")
    manifests = root / "manifests"
    for file in sorted(manifests.rglob("kustomization.yaml")):
        if yaml.safe_load(file.read_text())["kind"] == "Kustomization":
            name = file.parent.relative_to(manifests).name
            rendered = _run([str(kubectl), "kustomize", str(file.parent)], root)
            (dist / (INSTALL if name == "base" else f"projectsetup-{name}-{version}.yaml")).write_text(rendered)


def pin_image(dist: Path, version: str, image: str) -> list[Path]:
    """Name `image`, REPOSITORY@sha256:DIGEST, in the rendered manifests of dist/; returns the changed files.

    A separate step, because the digest is known only when the image has been pushed. Raises ReleaseError.
    """
    repository, _, digest = image.partition("@")
    name = repository.rpartition("/")[2]
    if name not in IMAGES.values() or not _DIGEST.fullmatch(digest):
        names = " or ".join(IMAGES.values())
        raise ReleaseError(f"{image!r} is not a pinned image: expected REPOSITORY@sha256:DIGEST of {names}")
    if not (dist / INSTALL).is_file():
        raise ReleaseError(f"no release in {dist}: run `make release` first")
    tagged = re.compile(
        rf"(image: )(?:{REGISTRY}/{name}:{re.escape(version)}|(?:\S*/)?{name}@sha256:\S+)$", re.MULTILINE
    )
    pinned = []
    for file in sorted(dist.glob("*.yaml")):
        text, number = tagged.subn(rf"\g<1>{image}", file.read_text())
        if number:
            file.write_text(text)
            pinned.append(file)
    if not pinned:
        raise ReleaseError(f"no manifest in {dist} names an image {name} that could be pinned")
    write_checksums(dist)
    return pinned


def package_charts(charts: Path, dist: Path, version: str, epoch: int) -> None:
    """Each Helm chart below `charts`, packaged as `helm package` does; ReleaseError if it names another version."""
    for file in sorted(charts.glob("*/Chart.yaml")):
        chart = yaml.safe_load(file.read_text())
        if {chart["version"], chart["appVersion"]} != {version}:
            raise ReleaseError(f"{file} has another version than {version}: correct version and appVersion")
        with (
            (dist / f"{chart['name']}-{version}.tgz").open("wb") as target,
            _compress(target, epoch) as compressed,
            tarfile.open(fileobj=compressed, mode="w") as tar,
        ):
            for path in sorted(path for path in file.parent.rglob("*") if path.is_file()):
                entry = tarfile.TarInfo(f"{chart['name']}/{path.relative_to(file.parent)}")
                entry.size, entry.mtime = path.stat().st_size, epoch
                tar.addfile(entry, io.BytesIO(path.read_bytes()))


def export_image(archive: Path, dist: Path, name: str, lock: str) -> None:
    """A compressed docker-archive of the image under its released name, and its bill of materials."""
    repository, _, version = name.rpartition("/")[2].partition(":")
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    stem = f"{repository}-image-{version}-linux-{architecture}"
    with TemporaryDirectory(dir=dist) as folder:
        renamed = Path(folder) / "image.tar"
        rename_image(archive, renamed, name)
        write_sbom(name, renamed, lock, dist / f"{stem}.spdx.json")
        with (
            renamed.open("rb") as source,
            (dist / f"{stem}.tar.gz").open("wb") as target,
            _compress(target, 0) as compressed,
        ):
            shutil.copyfileobj(source, compressed)


def rename_image(archive: Path, target: Path, name: str) -> None:
    """Copy a docker-archive of one image, which is called `name` in the copy."""
    with tarfile.open(archive) as source, tarfile.open(target, "w") as copy:
        for member in source:
            content = source.extractfile(member)
            if member.name == "manifest.json" and content is not None:
                (image,) = json.load(content)
                text = json.dumps([{**image, "RepoTags": [name]}]).encode()
                member.size, content = len(text), io.BytesIO(text)
            copy.addfile(member, content)


def write_checksums(dist: Path) -> None:
    """SHA256SUMS of all files of `dist`, as `sha256sum --check` reads it."""
    lines = [f"{_sha256(file)}  {file.name}\n" for file in sorted(dist.iterdir()) if file.name != CHECKSUMS]
    (dist / CHECKSUMS).write_text("".join(lines))


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _compress(target: IO[bytes], epoch: int) -> gzip.GzipFile:
    """A gzip stream into `target` whose bytes depend on nothing but the content and `epoch`."""
    return gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=target, mtime=epoch)


def _git(root: Path, *arguments: str) -> str:
    return _run(["git", *arguments], root).strip()


def _run(command: Iterable[str], folder: Path, environment: dict[str, str] | None = None) -> str:
    command = [*command]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ReleaseError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-400:]}")
    return done.stdout
