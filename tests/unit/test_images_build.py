"""Before an image is built: its sources, its access to packages, and whether it can be built at all."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from images import IMAGES, OPERATOR, build, find_images, images_obstacle
from images.__main__ import main
from images.building import cache_folder
from images.content import Content
from images.sources import apt_options, build_arguments, debian_sources
from tests.support.manifests import ROOT

INDEX = "https://user:password@index.example/simple"
TARGETS = """\
nodistro main http://other.example/
bookworm-updates main http://mirror.example/debian/
bookworm contrib http://contrib.example/debian/
bookworm main http://mirror.example/debian/
bookworm-security main http://security.example/debian-security/
"""


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in [*os.environ]:
        if name.startswith("PIP_") or name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.fixture
def content(tmp_path: Path) -> Content:
    return Content(ROOT).copy(tmp_path / "content")


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    "name",
    ["Dockerfile", ".dockerignore", "requirements-runtime.lock", "images/base.py", "operator/projectsetup/cli/app.py"],
)
def test_changed_sources_have_another_key(content: Content, name: str) -> None:
    before = content.key()
    with (content.root / name).open("a") as file:
        file.write("\n")
    assert content.key() != before


def test_other_sources_do_not_change_the_base_image(content: Content) -> None:
    before = content.base_key()
    (content.root / "operator/new.py").touch()
    assert content.base_key() == before
    dockerfile = content.dockerfile.read_text()
    content.dockerfile.write_text(dockerfile.replace(f"debian:{content.release()}-", "debian:sid-"))
    assert content.release() == "sid"
    assert content.base_key() != before


@pytest.fixture
def debian_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "debian", "VERSION_CODENAME": "bookworm"})
    program(tmp_path / "bin", "apt-get", f"cat <<'END'\n{TARGETS}END")
    answers = 'Acquire::http::Proxy "http://proxy.example:3128";\nAcquire::Languages "none";'
    program(tmp_path / "bin", "apt-config", f"case $1 in dump) cat <<'END'\n{answers}\nEND\n;; esac")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)


@pytest.mark.usefixtures("debian_machine")
def test_another_release_uses_the_same_mirrors() -> None:
    assert debian_sources("trixie") == (
        "deb http://mirror.example/debian/ trixie main\n"
        "deb http://mirror.example/debian/ trixie-updates main\n"
        "deb http://security.example/debian-security/ trixie-security main\n"
    )
    assert apt_options() == 'Acquire::http::Proxy "http://proxy.example:3128";\n'


@pytest.mark.usefixtures("debian_machine")
def test_addresses_are_passed_in_files_not_in_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", INDEX)
    arguments = build_arguments(tmp_path, "trixie")
    assert "example" not in " ".join(arguments)
    assert INDEX in (tmp_path / "pip.conf").read_text()
    assert "mirror.example" in (tmp_path / "sources.list").read_text()


def test_existing_images_need_no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert images_obstacle() == "building images needs root"
    folder = cache_folder() / "archives" / Content(ROOT).key()
    folder.mkdir(parents=True)
    (folder / "operator.tar").touch()
    assert images_obstacle((OPERATOR,)) is not None, "there is no bill of materials"
    (folder / "operator.spdx.json").touch()
    assert images_obstacle((OPERATOR,)) is None
    assert build((OPERATOR,)) == find_images() == {OPERATOR: folder / "operator.tar"}
    assert images_obstacle(IMAGES) == "building images needs root"


def test_bad_usage_and_obstacles_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["build", "nonsense"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "images: unknown image 'nonsense' (see python -m images --help)\n"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["build"]) == 3
    assert capsys.readouterr().err == "images: building images needs root\n"
