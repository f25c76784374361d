"""What `make release` checks and builds, without the images."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import Final

import pytest
import yaml

from projectsetup.version import version
from release.artifacts import (
    ReleaseError,
    build_packages,
    check,
    package_charts,
    pin_image,
    rename_image,
    render_manifests,
    write_checksums,
)
from tests.support.manifests import ROOT

EPOCH: Final = 1_700_000_000


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 1.2.0\n\n## 1.1.0 (2026-01-01)\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message=start")
    return tmp_path


@pytest.mark.parametrize("number", ["1.2.0", "1.1.0"])
def test_a_clean_tree_with_a_changelog_section_can_be_released(repository: Path, number: str) -> None:
    check(repository, number)


@pytest.mark.parametrize("number", ["1.3.0", "1.2", "1x2.0"])
def test_a_version_that_the_changelog_does_not_name_is_refused(repository: Path, number: str) -> None:
    with pytest.raises(ReleaseError, match=f"CHANGELOG.md has no section '## {number}'"):
        check(repository, number)
    (repository / "new").touch()
    with pytest.raises(ReleaseError, match="uncommitted changes"):
        check(repository, "1.2.0")


def test_packages_are_reproducible_and_complete(tmp_path: Path) -> None:
    for name in ("one", "two"):
        build_packages(ROOT, tmp_path / name, EPOCH)
    built = {file.name: file for file in (tmp_path / "one").iterdir()}
    wheel, sdist = f"projectsetup-{version()}-py3-none-any.whl", f"projectsetup-{version()}.tar.gz"
    assert built.keys() == {wheel, sdist}
    assert all(file.read_bytes() == (tmp_path / "two" / name).read_bytes() for name, file in built.items())
    with zipfile.ZipFile(built[wheel]) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        about = HeaderParser().parsestr(archive.read(metadata).decode())
    assert "projectsetup/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert (about["Version"], about["License-Expression"]) == (version(), "Apache-2.0")
    with tarfile.open(built[sdist]) as archive_:
        inside = {name.partition("/")[2] for name in archive_.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "operator/projectsetup/version.py"} <= inside


def test_every_kustomization_but_components_is_rendered(tmp_path: Path) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\necho "$1 of $2"\n')
    kubectl.chmod(0o755)
    dist = tmp_path / "dist"
    dist.mkdir()
    render_manifests(ROOT, dist, "1.2.0", kubectl)
    names = ("crd", "monitoring", "development", "local-engine", "namespaced")
    expected = {"install.yaml", *(f"projectsetup-{name}-1.2.0.yaml" for name in names)}
    assert {file.name for file in dist.iterdir()} == expected
    assert (dist / "install.yaml").read_text() == f"kustomize of {ROOT / 'manifests' / 'base'}\n"


def test_a_pushed_image_is_pinned_in_the_manifests(tmp_path: Path) -> None:
    images = ("codemyspec/projectsetup:1.2.0", "codemyspec/projectsetup-toolchain:1.2.0", "postgres:17")
    (tmp_path / "install.yaml").write_text("".join(f"- image: {image}\n" for image in images))
    (tmp_path / "other.yaml").write_text("kind: Role\n")
    for digest in ("0a" * 32, "1b" * 32):
        pushed = f"registry.example/platform/projectsetup@sha256:{digest}"
        assert pin_image(tmp_path, "1.2.0", pushed) == [tmp_path / "install.yaml"]
        lines = (tmp_path / "install.yaml").read_text().splitlines()
        assert lines == [f"- image: {image}" for image in (pushed, *images[1:])]
        subprocess.run(
            ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True, capture_output=True
        )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("codemyspec/projectsetup:1.2.0", "is not a pinned image"),
        ("codemyspec/other@sha256:" + "0a" * 32, "is not a pinned image"),
        ("codemyspec/projectsetup@sha256:" + "0a" * 32, "run `make release` first"),
    ],
)
def test_only_a_pinned_image_of_a_release_is_accepted(tmp_path: Path, image: str, message: str) -> None:
    with pytest.raises(ReleaseError, match=message):
        pin_image(tmp_path, "1.2.0", image)


def test_a_digest_that_no_manifest_needs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "install.yaml").write_text("- image: codemyspec/projectsetup:1.2.0\n")
    with pytest.raises(ReleaseError, match="names an image projectsetup-toolchain-go"):
        pin_image(tmp_path, "1.2.0", f"projectsetup-toolchain-go@sha256:{'0a' * 32}")


def test_charts_are_packaged_with_the_released_version_only(tmp_path: Path) -> None:
    chart = tmp_path / "charts" / "thing"
    (chart / "templates").mkdir(parents=True)
    (chart / "templates" / "role.yaml").touch()
    (chart / "Chart.yaml").write_text(yaml.safe_dump({"name": "thing", "version": "1.2.0", "appVersion": "1.2.0"}))
    package_charts(tmp_path / "charts", tmp_path, "1.2.0", EPOCH)
    with tarfile.open(tmp_path / "thing-1.2.0.tgz") as archive:
        assert archive.getnames() == ["thing/Chart.yaml", "thing/templates/role.yaml"]
    with pytest.raises(ReleaseError, match="has another version than"):
        package_charts(tmp_path / "charts", tmp_path, "1.3.0", EPOCH)


def test_an_image_is_renamed_and_its_layers_stay(tmp_path: Path) -> None:
    contents = {
        "manifest.json": json.dumps([{"Config": "c.json", "RepoTags": ["old:dev"], "Layers": ["l.tar"]}]).encode(),
        "c.json": b"{}",
        "l.tar": b"layer",
    }
    with tarfile.open(tmp_path / "old.tar", "w") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    rename_image(tmp_path / "old.tar", tmp_path / "new.tar", "example/new:1.2.0")
    with tarfile.open(tmp_path / "new.tar") as archive:
        found = {member.name: archive.extractfile(member) for member in archive}
        copied = {name: file.read() for name, file in found.items() if file is not None}
    (manifest,) = json.loads(copied["manifest.json"])
    assert manifest == {"Config": "c.json", "RepoTags": ["example/new:1.2.0"], "Layers": ["l.tar"]}
    assert all(copied[name] == contents[name] for name in ("c.json", "l.tar"))


def test_checksums_can_be_checked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    write_checksums(tmp_path)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True, capture_output=True)
