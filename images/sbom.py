"""The bill of materials of an image: its Debian and Python packages, as an SPDX document."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

_DPKG: Final = PurePosixPath("var/lib/dpkg/status")
_INSTALLED: Final = "install ok installed"
_METADATA: Final = ("METADATA", ".dist-info")
_WHEEL: Final = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)-.*\.whl")
_UV: Final = PurePosixPath("usr/local/bin/uv")
_UV_PIN: Final = re.compile(r"^uv==(?P<version>[^\s;\\]+)", re.MULTILINE)
_REMOVED: Final = ".wh."
_REMOVED_ALL: Final = ".wh..wh..opq"
_UNKNOWN: Final = "NOASSERTION"

Files = dict[PurePosixPath, bytes]


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A package; `kind` and `namespace` are the type and namespace of its package URL."""

    kind: str
    name: str
    version: str
    namespace: str = ""
    architecture: str = ""
    license: str = _UNKNOWN

    @property
    def url(self) -> str:
        """Its package URL."""
        path = "/".join(filter(None, (self.kind, self.namespace, quote(self.name))))
        qualifiers = f"?arch={self.architecture}" if self.architecture else ""
        return f"pkg:{path}@{quote(self.version)}{qualifiers}"


def write_sbom(name: str, archive: Path, lock: str, target: Path) -> None:
    """Write the bill of materials of the docker-archive `archive`; `lock` pins the version of uv."""
    config, files = _read(archive)
    packages = sorted(set(_packages(files, lock)))
    unfinished = target.with_name(f".{target.name}.new")
    unfinished.write_text(json.dumps(_document(name, config, packages), indent=1))
    unfinished.replace(target)


def _read(archive: Path) -> tuple[Mapping[str, Any], Files]:
    """The configuration of the image, and its files that identify packages."""
    files: Files = {}
    with tarfile.open(archive) as tar:
        (manifest,) = json.load(_member(tar, "manifest.json"))
        config: Mapping[str, Any] = json.load(_member(tar, manifest["Config"])) | {"digest": manifest["Config"]}
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=_member(tar, layer)) as content:
                _apply_layer(files, content)
    return config, files


def _member(tar: tarfile.TarFile, name: str) -> Any:
    file = tar.extractfile(name)
    if file is None:
        raise tarfile.ReadError(f"{name} in the archive is not a file")
    return file


def _apply_layer(files: Files, layer: tarfile.TarFile) -> None:
    """Apply a layer to the files below it."""
    found: Files = {}
    for member in layer:
        path = PurePosixPath(member.name)
        if path.name.startswith(_REMOVED):
            removed = path.parent if path.name == _REMOVED_ALL else path.with_name(path.name.removeprefix(_REMOVED))
            for below in [file for file in files if file.is_relative_to(removed)]:
                del files[below]
        elif member.isfile() and _identifies_packages(path):
            found[path] = b"" if _name_is_enough(path) else layer.extractfile(member).read()  # type: ignore[union-attr]
    files |= found


def _identifies_packages(path: PurePosixPath) -> bool:
    is_metadata = path.name == _METADATA[0] and path.parent.suffix == _METADATA[1]
    return path == _DPKG or is_metadata or _name_is_enough(path)


def _name_is_enough(path: PurePosixPath) -> bool:
    return path == _UV or path.suffix == ".whl"


def _packages(files: Files, lock: str) -> Iterator[Package]:
    for path, content in files.items():
        if path == _DPKG:
            yield from _debian(content.decode())
        elif path == _UV:
            pinned = _UV_PIN.search(lock)
            yield Package("pypi", "uv", pinned["version"] if pinned else "")
        elif path.suffix == ".whl":
            wheel = _WHEEL.fullmatch(path.name)
            if wheel:
                yield Package("pypi", _normal(wheel["name"]), wheel["version"])
        else:
            about = HeaderParser().parsestr(content.decode())
            yield Package(
                "pypi", _normal(about["Name"]), about["Version"], license=about["License-Expression"] or _UNKNOWN
            )


def _debian(status: str) -> Iterator[Package]:
    for paragraph in status.strip().split("\n\n"):
        about = HeaderParser().parsestr(paragraph)
        if about["Status"] == _INSTALLED:
            yield Package("deb", about["Package"], about["Version"], "debian", about["Architecture"])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _document(name: str, config: Mapping[str, Any], packages: list[Package]) -> dict[str, Any]:
    digest = config["digest"].removesuffix(".json")
    image = {**_entry("SPDXRef-image", name, digest), "primaryPackagePurpose": "CONTAINER"}
    entries = [
        {
            **_entry(f"SPDXRef-{number}", package.name, package.version),
            "licenseDeclared": package.license,
            "externalRefs": [
                {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": package.url}
            ],
        }
        for number, package in enumerate(packages, 1)
    ]
    contains = [_relation("SPDXRef-image", "CONTAINS", entry["SPDXID"]) for entry in entries]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"urn:uuid:{uuid5(NAMESPACE_URL, digest)}",
        "creationInfo": {"created": f"{config['created'][:19]}Z", "creators": ["Tool: projectsetup-images"]},
        "packages": [image, *entries],
        "relationships": [_relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image"), *contains],
    }


def _entry(identifier: str, name: str, version: str) -> dict[str, Any]:
    return {
        "SPDXID": identifier,
        "name": name,
        "versionInfo": version,
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "copyrightText": _UNKNOWN,
    }


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
