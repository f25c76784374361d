"""The images: checks of their Dockerfiles and lock files without building them."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.manifests import ROOT

DOCKERFILES: Final = (ROOT / "Dockerfile", ROOT / "images" / "toolchain-offline.Dockerfile")
IMAGES: Final = ("operator", "toolchain")
LOCKS: Final = ("requirements.lock", "requirements-runtime.lock", "requirements-build.lock")
RELOCK: Final = "make lock"

Instruction = tuple[str, str]


def instructions(file: Path) -> list[Instruction]:
    lines = (line for line in file.read_text().splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n", " ", "\n".join(lines)).splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined if line.strip())]


INSTRUCTIONS: Final = instructions(DOCKERFILES[0])
EVERYWHERE: Final = [instruction for file in DOCKERFILES for instruction in instructions(file)]


def arguments(name: str, given: list[Instruction] = INSTRUCTIONS) -> list[str]:
    return [rest for instruction, rest in given if instruction == name]


def stage(name: str) -> list[Instruction]:
    starts = [place for place, (instruction, _) in enumerate(INSTRUCTIONS) if instruction == "FROM"]
    (start,) = (place for place in starts if INSTRUCTIONS[place][1].endswith(f" AS {name}"))
    return INSTRUCTIONS[start : min((place for place in starts if place > start), default=None)]


def copied_from_context(given: list[Instruction]) -> set[str]:
    copies = [rest.split()[:-1] for rest in arguments("COPY", given) if "--from=" not in rest]
    return {name for names in copies for name in names}


def pins(name: str) -> dict[str, str]:
    """Each package of a lock file with version, marker and hashes."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / name).read_text())
    return {canonicalize_name(line.partition("==")[0]): line for line in text.splitlines()}


def needed(package: str, *wanted: str) -> set[str]:
    """All dependencies of a package with these extras on this machine."""
    found: set[str] = set()
    waiting = [(package, frozenset(wanted))]
    while waiting:
        name, extras = waiting.pop()
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
                continue
            dependency = canonicalize_name(requirement.name)
            if dependency not in found or requirement.extras:
                found.add(dependency)
                waiting.append((dependency, frozenset(requirement.extras)))
    return found


@pytest.mark.parametrize("image", IMAGES)
def test_runs_as_a_numeric_user_that_is_not_root(image: str) -> None:
    (user,) = arguments("USER", stage(image))
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)


def test_the_base_image_names_version_and_distribution_and_can_be_replaced() -> None:
    base = arguments("ARG")[0]
    assert re.fullmatch(r"BASE=debian:[a-z]+-slim", base)
    stages: list[str] = []
    for image, _, name in (rest.split() for rest in arguments("FROM")):
        assert image in {"${BASE}", *stages}
        stages.append(name)


def test_layers_that_rarely_change_come_first() -> None:
    for image in IMAGES:
        copies = arguments("COPY", stage(image))
        assert "from=package" in copies[-1]
        assert all("from=dependencies" in copy for copy in copies[:-1])
    assert "operator" not in copied_from_context(stage("dependencies"))


def test_takes_nothing_from_addresses() -> None:
    assert not arguments("ADD", EVERYWHERE)
    assert not any("://" in file.read_text() for file in DOCKERFILES)


def test_every_package_is_installed_by_hash_or_without_an_index() -> None:
    calls = [part for rest in arguments("RUN", EVERYWHERE) for part in rest.split("&&") if "/bin/pip " in part]
    installs = [call for call in calls if " uninstall " not in call]
    assert len(installs) == 7
    assert all("--require-hashes" in call or "--no-index --no-deps" in call for call in installs)


def test_settings_of_the_package_index_are_mounted_and_not_kept() -> None:
    for rest in arguments("RUN", EVERYWHERE):
        assert ("--mount=type=secret,id=pip" in rest) == ("--require-hashes" in rest)
    assert not any("INDEX" in rest for name, rest in EVERYWHERE if name in ("ARG", "ENV", "LABEL"))


def test_copied_files_are_in_the_build_context() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied_from_context(INSTRUCTIONS) == allowed
    names = copied_from_context(EVERYWHERE)
    assert all((ROOT / name).exists() and any(Path(name).is_relative_to(path) for path in allowed) for name in names)


@pytest.mark.parametrize("name", LOCKS)
def test_locks_hold_no_addresses(name: str) -> None:
    assert "://" not in (ROOT / name).read_text()


@pytest.mark.parametrize("name", LOCKS[1:])
def test_the_other_locks_are_part_of_the_whole_one(name: str) -> None:
    assert pins(name).items() <= pins("requirements.lock").items(), f"run `{RELOCK}`"


def test_the_build_lock_holds_what_builds_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {canonicalize_name(Requirement(text).name) for text in project["build-system"]["requires"]} == {"hatchling"}
    assert needed("hatchling") <= pins("requirements-build.lock").keys(), f"run `{RELOCK}`"


def test_the_runtime_lock_holds_what_is_needed_and_no_tools() -> None:
    runtime = pins("requirements-runtime.lock").keys()
    assert needed("projectsetup", "otel") <= runtime, f"run `{RELOCK}`"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tools = {canonicalize_name(Requirement(text).name) for text in project["dependency-groups"]["dev"]}
    assert not runtime & tools
